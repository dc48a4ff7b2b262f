"""Opening a W&B run: online if it can be, offline if not, and never in the way of a training."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cpr_lightning.errors import first_line

if TYPE_CHECKING:
    from wandb import Run

log = logging.getLogger(__name__)

_ANSWER = 20.0  # seconds that W&B has to answer; its own default is 90
_RETRIES = 3  # of what W&B does not answer
_MODE = "WANDB_MODE"
_stays_offline = False  # asking again would cost every cell of a sweep the same wait


def open_run(arguments: Mapping[str, Any], *, offline: bool | None, upload_timeout: float) -> "Run | None":
    """A W&B run; on disk alone where there is no key, the key is refused, or nobody answers.

    Args:
        arguments: of ``wandb.init``.
        offline: keep the run on disk for a later ``wandb sync``; None decides by the environment and the key.
        upload_timeout: seconds that closing the run may wait for what is not sent yet. Where nobody answers, some
            tenths of it are added for what W&B asks before.

    Returns:
        None where not even an offline run can be had; a sentence in the log says why.
    """
    try:
        mode = _mode(offline)
        return _open(arguments, mode, upload_timeout)
    except Exception as error:  # whatever it is, it is no reason to lose a training
        wrong = _wrong_variables(error)
        reason = first_line(error)
        if wrong:
            log.warning("W&B cannot use %s: this run is kept offline.", " and ".join(wrong))
        else:
            log.warning(
                "W&B cannot be used online (%s): this run is kept offline, and so are those that follow in this "
                "process. `wandb login` renews a key.", reason,
            )  # fmt: skip
            stay_offline()
    try:
        with _without(wrong):
            return _open(arguments, "offline", upload_timeout)
    except Exception as error:
        log.warning("W&B cannot be used offline either (%s): this run goes on without it.", first_line(error))
        return None


def has_key() -> bool:
    """Whether W&B finds a key on this machine; nobody is asked, and it may still be refused."""
    import wandb

    return wandb.login(prompt=False, verify=False)


def refusal() -> str | None:
    """Why W&B takes nothing at the moment; None where it answers and knows the key."""
    import wandb

    try:
        wandb.Api(timeout=int(_ANSWER))  # asks whose the key is
    except Exception as error:
        return first_line(error)
    return None


def stay_offline() -> None:
    """Keep offline all runs that this process still opens, without asking W&B."""
    global _stays_offline
    _stays_offline = True


def _mode(offline: bool | None) -> str:
    asked = os.environ.get(_MODE)
    if offline or _stays_offline or (offline is None and asked in ("offline", "dryrun")):
        return "offline"
    if asked is not None and offline is None and asked not in ("online", "run"):
        return asked  # disabled, shared; or a slip of the pen, which W&B refuses
    if not has_key():
        # Also where online is asked for: W&B would stop to ask for a key, in the middle of a sweep.
        log.info("There is no W&B key: logging offline. `wandb login` stores one for the next time.")
        return "offline"
    return "online"


def _open(arguments: Mapping[str, Any], mode: str, upload_timeout: float) -> "Run":
    import wandb

    # The timeout of finishing begins behind what W&B asks before it sends a table or an artifact, and it would ask each
    # of that for a quarter of an hour. Less than a second counts as its own default.
    pause = max(upload_timeout / 10 / _RETRIES, 1.0)
    settings = wandb.Settings(
        silent=True, init_timeout=_ANSWER, login_timeout=_ANSWER, finish_timeout=upload_timeout,
        finish_timeout_raises=True,
        x_graphql_retry_max=_RETRIES, x_graphql_retry_wait_min_seconds=pause, x_graphql_retry_wait_max_seconds=pause,
        x_graphql_timeout_seconds=_ANSWER,
        x_file_transfer_retry_max=_RETRIES, x_file_transfer_retry_wait_min_seconds=pause,
        x_file_transfer_retry_wait_max_seconds=pause,
    )  # fmt: skip
    run = wandb.init(**arguments, mode=mode, settings=settings)  # pyright: ignore[reportArgumentType]
    # The number of optimizer steps is the x-axis of everything that is logged.
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return run


def _wrong_variables(error: Exception) -> list[str]:
    """Environment variables that W&B's settings refuse, as ``NAME=value``."""
    if not isinstance(error, ValueError):
        return []
    list_problems: Any = getattr(error, "errors", list)  # pydantic's: each with the name of a setting
    names = [f"WANDB_{str(each['loc'][0]).upper()}" for each in list_problems() if each["loc"]]
    return [f"{name}={os.environ[name]}" for name in names if name in os.environ]


@contextmanager
def _without(variables: list[str]) -> Iterator[None]:
    """Hide environment variables, given as ``NAME=value``."""
    hidden = dict(each.split("=", 1) for each in variables)
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
