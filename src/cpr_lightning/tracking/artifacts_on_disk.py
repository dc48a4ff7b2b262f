"""Artifacts of a run that is online, kept on the disk as those of an offline run are."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wandb import Run


@contextmanager
def artifacts_on_disk(run: "Run") -> Iterator[None]:
    """Write what is logged in the block into the run's file, tables and artifacts too, and then send it.

    W&B hands the artifacts of an online run, and each table and curve is one, to its service alone, and asks the server
    first: where nobody answers, logging one raises, and what could not be sent in time is not there for
    ``wandb sync`` either. In an offline run it writes them down first; the service sends them all the same.

    Args:
        run: open, online or not.
    """
    settings: Any = run._settings
    run._settings = _AsIfOffline(settings)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        run._settings = settings


class _AsIfOffline:
    """The settings of a run, which is said to be offline; its files keep their places."""

    _offline = True

    def __init__(self, settings: Any) -> None:
        self._settings = settings

    def __getattr__(self, name: str) -> Any:
        return getattr(self._settings, name)
