"""What a training shows of itself: one line of steps, and none of Lightning's advice that does not apply here."""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning
from lightning.pytorch.callbacks import ProgressBar
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cpr_lightning.terminal import bar, draws_bars

log = logging.getLogger(__name__)

_LINES = 20  # in a log file, where a bar cannot be redrawn

_NOT_HERE = (
    ".*module\\(s\\) in eval mode.*",  # the frozen backbone is meant to be
    ".*number of training batches .* is smaller than the logging interval.*",
    ".*dataloader is not resumable.*",  # data.pairs.Onward goes on where the training was interrupted
    ".*does not have many workers.*",  # one less than the cores is right for a training step on the CPU
    ".*Checkpoint directory .* exists and is not empty.*",  # a resumed run's own
    ".*`srun` command is available on your system.*",  # launcher=slurm submits whole cells
    ".*isinstance.*LeafSpec.*",  # a deprecation inside Lightning
    ".*`broadcast_buffers` is deprecated.*",  # for a name that older versions of torch do not know
)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's notes on hardware and products, and warnings about what is intended here."""
    names = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero", "lightning.pytorch")
    levels = [logging.getLogger(name).level for name in names]
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.WARNING)
        with warnings.catch_warnings():
            for message in _NOT_HERE:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        for name, level in zip(names, levels, strict=True):
            logging.getLogger(name).setLevel(level)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C through: Lightning turns it into an exit with status 1 and ignores every further one."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, handler)


class StepProgress(ProgressBar):
    """A bar of optimiser steps in a terminal; a line now and then where the output is a pipe or a file."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._bar: Progress | None = None

    def disable(self) -> None:
        """Called by Lightning on all processes but the first."""
        self._enabled = False

    def enable(self) -> None:
        """The opposite of :meth:`disable`."""
        self._enabled = True

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Open the bar."""
        del pl_module
        if self._enabled and draws_bars():
            columns = (TextColumn("Training"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = bar(*columns, TimeRemainingColumn(), TextColumn("loss {task.fields[loss]}"))
            self._bar.add_task("Training", total=trainer.max_steps, completed=trainer.global_step, loss="-")
            self._bar.start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance by what has been done."""
        del pl_module, outputs, batch, batch_idx
        if not self._enabled:
            return
        step, last = trainer.global_step, trainer.max_steps
        loss = f"{float(trainer.callback_metrics['loss']):.4f}" if "loss" in trainer.callback_metrics else "-"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=step, loss=loss)
        elif step % max(1, last // _LINES) == 0 or step == last:
            log.info("Step %d of %d, loss %s", step, last, loss)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Close the bar."""
        del trainer, pl_module
        self._close()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that the message that follows starts on a line of its own."""
        del trainer, pl_module, exception
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
