"""Checkpoints that are whole, and that training can go on from."""

from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor

from cpr_lightning.errors import RunError
from cpr_lightning.files import replaced

LAST = "last.ckpt"


class KeepGood(lightning.Callback):
    """Keeps ``last.ckpt``: every so many steps the state before a batch, once the loss of that batch is finite.

    A checkpoint after the step, as Lightning's own, would keep weights that the step has just thrown off. One that is
    written while the batch is worked on would count it twice in the batch norms, when training is resumed with it.

    Args:
        folder: for the checkpoint.
        every: optimiser steps.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.path = folder / LAST
        self.every = every
        self._candidate = folder / f".{LAST}"
        self._saved_at = 0

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Write the state that this batch starts from."""
        del pl_module, batch, batch_idx
        step = trainer.global_step
        if step % self.every == 0 and step > self._saved_at:
            self._saved_at = step
            trainer.save_checkpoint(self._candidate)

    def on_before_backward(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, loss: Tensor
    ) -> None:
        """The loss is finite here, for the training step raises where it is not: the state was good."""
        del pl_module, loss
        # All processes of a training save together, and the first one writes.
        if trainer.is_global_zero and self._candidate.exists():
            self._candidate.replace(self.path)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the end too: what comes after training may fail, and need not be trained again."""
        del pl_module
        trainer.save_checkpoint(self.path)


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes beside the checkpoint's place and renames. Lightning's own passes through the system's temporary folder,
    which leaves half a file where that is on another disk and this one is full.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write ``checkpoint`` to ``path``."""
        del storage_options
        with replaced(Path(path)) as temporary:
            try:
                torch.save(checkpoint, temporary)
            except RuntimeError as error:  # what torch makes of a full disk
                raise OSError(f"{path} could not be written; the disk may have no space left") from error

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        """Read a checkpoint; :class:`RunError` if it is damaged."""
        try:
            return super().load_checkpoint(path, map_location, weights_only)
        except FileNotFoundError:
            raise
        except Exception as error:  # a damaged pickle stream raises almost anything
            raise RunError(
                f"{path} is not a whole checkpoint. Delete it to start the run from the beginning, or copy it again."
            ) from error
