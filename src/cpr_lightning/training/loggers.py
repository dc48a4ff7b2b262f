"""The loggers of a training; W&B needs no account."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger

from cpr_lightning.build import build
from cpr_lightning.settings import Settings

log = logging.getLogger(__name__)


def wandb_logger(*, offline: bool | None = None, **arguments: Any) -> WandbLogger:
    """A Weights & Biases logger; offline where no key is known, so that a run never stops to ask for one.

    Args:
        offline: keep the run on disk for a later ``wandb sync``; None decides by whether there is a key.
        arguments: of Lightning's ``WandbLogger``.
    """
    if offline is None:
        import wandb

        offline = wandb.api.api_key is None and "WANDB_MODE" not in os.environ
        if offline:
            log.info("No W&B key: logging offline; `wandb sync` sends the run later.")
    # The mode is given too: W&B reads the environment variable that Lightning sets only before its first use.
    return WandbLogger(offline=offline, mode="offline" if offline else None, **arguments)


@contextmanager
def open_loggers(settings: Settings) -> Iterator[list[Logger]]:
    """The loggers of the settings, closed whatever happens: an open W&B run would swallow the next job's values."""
    loggers: list[Logger] = [build(each) for each in settings.logger.values()]
    status = "failed"
    try:
        yield loggers
        status = "success"
    finally:
        for logger in loggers:
            logger.finalize(status)
        if "wandb" in settings.logger:
            import wandb

            wandb.finish(exit_code=0 if status == "success" else 1)
