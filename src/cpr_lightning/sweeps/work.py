"""Running one cell of a sweep, in any process: whatever happens to it is written down, and harms no other."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from cpr_lightning.errors import CprError, RunError, system_sentence
from cpr_lightning.files import remove_halves
from cpr_lightning.job import record_words, run_job
from cpr_lightning.sweeps.cell import Cell, Outcome, State
from cpr_lightning.sweeps.status import fingerprint, finished, read_status, write_status
from cpr_lightning.terminal import plainly
from cpr_lightning.training.checkpoints import LAST

log = logging.getLogger(__name__)

_LOCKS = ".locks"
_FAILED = 2  # a command that could not run


def work(cell: Cell) -> Outcome:
    """Run a cell, or go on with it where it was interrupted; ``running`` where another process is at it.

    Raises:
        KeyboardInterrupt: and nothing else.
    """
    return _work(cell, wait=False)


def wait_and_work(cell: Cell) -> Outcome:
    """The same, but wait for a process that is at the cell."""
    return _work(cell, wait=True)


def _work(cell: Cell, *, wait: bool) -> Outcome:
    started = time.time()
    try:
        with _alone(cell, wait):
            return _held(cell, started)
    except Timeout:
        return Outcome(cell.number, State.running)
    except Exception as error:  # the folder is not ours: nothing is written there
        return Outcome(cell.number, State.failed, _sentence(error), time.time() - started)


def _held(cell: Cell, started: float) -> Outcome:
    """Run a cell that nobody else is at; whenever it is interrupted, its record does not say that it runs."""
    try:
        metrics = finished(cell.folder)
        if metrics is None:
            write_status(cell, State.running, started)
            with _logged(cell.folder), plainly():
                metrics = _run(cell)
            _record_done(cell, metrics, started)
    except KeyboardInterrupt:
        _record_interruption(cell, started)
        raise
    except Exception as error:
        record_failure(cell, _sentence(error), started, _FAILED)
        return Outcome(cell.number, State.failed, _sentence(error), time.time() - started)
    return Outcome(cell.number, State.done, None, time.time() - started, metrics)


def _run(cell: Cell) -> dict[str, object]:
    """One cell from its start or its last checkpoint to its end, in its log."""
    remove_halves(cell.folder)
    checkpoint = cell.folder / "checkpoints" / LAST
    settings = replace(cell.settings, resume=str(cell.folder) if checkpoint.is_file() else None)
    record_words(cell.folder, cell.words, Path.cwd())
    try:
        return run_job(settings, cell.folder, ["cpr", "train", *cell.words])
    except Exception as error:
        # What the user can put right is a sentence; anything else is a defect, and its place is wanted.
        log.error("%s", _sentence(error), exc_info=not isinstance(error, (CprError, OSError)))
        raise
    except KeyboardInterrupt:
        log.info("Interrupted. The same command with sweep.resume=true goes on from here.")
        raise


def _record_done(cell: Cell, metrics: dict[str, object], started: float) -> None:
    write_status(cell, State.done, started, exit_status=1 if metrics["n_skipped"] else 0)


def record_failure(cell: Cell, error: str, started: float, exit_status: int | None) -> None:
    """Write down why a cell failed; on a full disk, say at least that it could not be."""
    with _at_least_said(cell, "failure"):
        write_status(cell, State.failed, started, error=error, exit_status=exit_status)


def record_end(cell: Cell) -> None:
    """Write down that a cell does not run any more, if it says so and nobody is at it: its process was ended."""
    status = read_status(cell.folder)
    if status is None or status.state is not State.running or status.config != fingerprint(cell.settings):
        return
    with suppress(Timeout), FileLock(_lock(cell), timeout=0):
        _record_interruption(cell, status.started)


def _record_interruption(cell: Cell, started: float) -> None:
    """It may come before the first step, and after the last number was written."""
    with _at_least_said(cell, "interruption"):
        metrics = finished(cell.folder)
        if metrics is None:
            write_status(cell, State.left, started)
        else:
            _record_done(cell, metrics, started)


@contextmanager
def _at_least_said(cell: Cell, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as trouble:
        print(f"cpr: {cell.name}: its {what} could not be recorded: {system_sentence(trouble)}", file=sys.stderr)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError):
        return system_sentence(error)
    return str(error) if isinstance(error, CprError) else f"{type(error).__name__}: {error}"


@contextmanager
def _alone(cell: Cell, wait: bool) -> Iterator[None]:
    """Hold the cell; its lock goes with this process, however it ends.

    Raises:
        Timeout: another process holds it, and is not to be waited for.
        RunError: another sweep has made another run in its folder meanwhile.
    """
    lock = _lock(cell)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock, timeout=-1 if wait else 0):
        status = read_status(cell.folder)
        if status is not None and status.config != fingerprint(cell.settings):
            raise RunError(
                f"Another sweep has made {cell.folder} with other settings. Choose another hydra.sweep.dir=."
            )
        cell.folder.mkdir(exist_ok=True)
        yield


def _lock(cell: Cell) -> Path:
    return cell.folder.parent / _LOCKS / f"{cell.name}.lock"


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """All that is logged goes to ``train.log`` of the cell, warnings to the terminal too; of errors the sweep tells."""
    file = logging.FileHandler(folder / "train.log", encoding="utf-8")
    file.setFormatter(logging.Formatter("[%(asctime)s] %(message)s", "%H:%M:%S"))
    warnings = logging.StreamHandler()
    warnings.setFormatter(logging.Formatter(f"{folder.name}: %(message)s"))
    warnings.addFilter(lambda record: record.levelno == logging.WARNING)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    for handler in (file, warnings):
        root.addHandler(handler)
    try:
        yield
    finally:
        for handler in (file, warnings):
            root.removeHandler(handler)
        root.setLevel(level)
        file.close()
