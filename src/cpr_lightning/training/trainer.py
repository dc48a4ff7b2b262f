"""Training the local branch with Lightning, from the last checkpoint on if there is one."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger

from cpr_lightning.choices import Kind
from cpr_lightning.data.datamodule import PairDataModule
from cpr_lightning.errors import SettingsError, first_line
from cpr_lightning.model.network import LocalFeatures
from cpr_lightning.settings import Settings
from cpr_lightning.training.checkpoints import LAST, KeepGood, WholeCheckpointIO
from cpr_lightning.training.indexing import OfflineIndex
from cpr_lightning.training.module import LocalBranchTraining
from cpr_lightning.training.processes import run_processes, strategy
from cpr_lightning.training.progress import StepProgress, interruptible, quiet

log = logging.getLogger(__name__)


def fit(
    settings: Settings,
    kind: Kind,
    features: LocalFeatures,
    data: PairDataModule,
    offline: OfflineIndex,
    folder: Path,
    loggers: Sequence[Logger],
    processes: int,
) -> int:
    """Train the local branch, in this process or in others.

    Args:
        settings: of the run.
        kind: of the category.
        features: backbone and branch; they may lie on another device afterwards.
        data: the pairs.
        offline: has the index ready.
        folder: the run directory; checkpoints go there.
        loggers: of the training's curves.
        processes: that share every batch; 0: this one trains.

    Returns:
        The number of steps that the branch has had, those before a resumed checkpoint included.
    """
    assert features.branch is not None
    module = LocalBranchTraining(
        features.backbone,
        features.branch,
        settings.training,
        kind=kind,
        window=settings.retrieval.windows[0],
        seed=settings.seed,
    )
    if not processes:
        return _run_trainer(settings, module, data, offline, folder, loggers)
    device = offline.device
    work = partial(_run_trainer, settings, module.cpu(), data, offline, folder, loggers, strategy=strategy())
    run_processes(processes, device, work)
    # The first process has kept the end of the training, as ever.
    kept = WholeCheckpointIO().load_checkpoint(folder / "checkpoints" / LAST, weights_only=True)
    module.load_state_dict(kept["state_dict"], strict=False)
    return kept["global_step"]


def _run_trainer(
    settings: Settings,
    module: LocalBranchTraining,
    data: PairDataModule,
    offline: OfflineIndex,
    folder: Path,
    loggers: Sequence[Logger],
    **chosen: Any,
) -> int:
    checkpoints = folder / "checkpoints"
    accelerator, devices = lightning_device(settings.device)
    arguments: dict[str, Any] = {
        "accelerator": accelerator,
        "devices": devices,
        "max_steps": data.steps,
        "max_epochs": -1,
        "default_root_dir": folder,
        "enable_model_summary": False,
        "use_distributed_sampler": False,  # data.pairs.Onward shares the batches itself
    }
    with quiet():
        keep_good = KeepGood(checkpoints, settings.training.checkpoint_every)
        trainer = _trainer(
            **arguments | settings.trainer | chosen,
            logger=list(loggers) or False,
            callbacks=[offline, keep_good, StepProgress()],
        )
        with interruptible():
            trainer.fit(module, datamodule=data, ckpt_path=_checkpoint(checkpoints, settings.resume), weights_only=True)
    return trainer.global_step


def _trainer(**arguments: Any) -> lightning.Trainer:
    try:
        return lightning.Trainer(**arguments, enable_checkpointing=False, plugins=[WholeCheckpointIO()])
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise SettingsError(f"The keys of trainer cannot be used: {first_line(error)}") from error


def lightning_device(device: str) -> tuple[str, Any]:
    """Lightning's ``accelerator`` and ``devices`` for a torch device or ``auto``."""
    if device == "auto":
        return "auto", 1
    kind, _, number = device.partition(":")
    return kind, [int(number)] if number else 1


def _checkpoint(folder: Path, resume: str | None) -> Path | None:
    """The checkpoint to go on from, if the run is to be resumed and has one."""
    if resume is None:
        return None
    last = folder / LAST
    if not last.is_file():
        log.warning("%s holds no checkpoint yet: training starts from the beginning.", resume)
        return None
    return last
