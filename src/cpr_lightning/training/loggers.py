"""The loggers of a run, closed whatever happens."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from cpr_lightning.build import build
from cpr_lightning.settings import Settings
from cpr_lightning.tracking.run_logger import WandbRunLogger


@contextmanager
def open_loggers(settings: Settings, folder: Path) -> Iterator[list[Logger]]:
    """The loggers of the settings, for all that a run does: it trains, is tested, and writes its results.

    Args:
        settings: checked.
        folder: the run directory; what it holds at the end of the block is what W&B is told.
    """
    loggers: list[Logger] = [build(_in(folder, each)) for each in settings.logger.values()]
    ended: BaseException | None = None
    try:
        opened = [each for each in loggers if not isinstance(each, WandbRunLogger) or each.start(settings, folder)]
        yield opened
        for logger in opened:
            if isinstance(logger, WandbRunLogger):
                logger.publish(folder)
    except BaseException as error:
        ended = error
        raise
    finally:
        for logger in loggers:
            if isinstance(logger, WandbRunLogger):
                logger.close(ended)
            else:
                logger.finalize("success" if ended is None else "failed")


def _in(folder: Path, logger: dict[str, Any]) -> dict[str, Any]:
    """A logger's arguments, with the run directory where no folder is given."""
    return logger | {"save_dir": str(folder)} if logger.get("save_dir", "") is None else logger
