"""Training pairs for Lightning."""

import os
from pathlib import Path
from typing import Any

import cv2
import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from cpr_lightning.data.augmentation import Augmentation
from cpr_lightning.data.extension import ExtendedAnomalies, RealDefects
from cpr_lightning.data.images import read_image
from cpr_lightning.data.pairs import Onward, Pair, PairDataset, Supervision, collate
from cpr_lightning.data.samples import Samples
from cpr_lightning.data.synthesis import SyntheticDefects
from cpr_lightning.data.textures import TextureFolder, generated_texture
from cpr_lightning.settings import SupervisedSettings, TrainingSettings

_CACHE_BYTES = 2 * 1024**3  # decoded references kept in memory, at most


class ReferenceImages:
    """Reads references by row, resized; keeps what it has decoded while there is room.

    Args:
        paths: of the references.
        size: pixels on a side.
    """

    def __init__(self, paths: list[Path], size: int) -> None:
        self.paths = paths
        self.size = size
        self._kept: dict[int, NDArray[np.uint8]] = {}
        self._room = _CACHE_BYTES // (size * size * 3)

    def __getstate__(self) -> dict[str, Any]:
        """For another process: it reads for itself what it needs."""
        return vars(self) | {"_kept": {}}

    def __len__(self) -> int:
        """Number of references."""
        return len(self.paths)

    def __call__(self, row: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB; not to be written to."""
        image = self._kept.get(row)
        if image is None:
            image = read_image(self.paths[row], self.size)
            if len(self._kept) < self._room:
                self._kept[row] = image
        return image


class PairDataModule(lightning.LightningDataModule):
    """Query and reference pairs of one category.

    The offline index must be set (:meth:`use_index`) before training starts; the callback ``OfflineIndex`` does so.

    Args:
        samples: the category. Its defective images, if there are any, are learned from.
        settings: of training.
        image_size: pixels on a side.
        seed: of the run.
        steps: optimiser steps of the whole training.
        supervised: what to do with defective images; None: the defaults.
    """

    def __init__(
        self,
        samples: Samples,
        settings: TrainingSettings,
        *,
        image_size: int,
        seed: int,
        steps: int,
        supervised: SupervisedSettings | None = None,
    ) -> None:
        super().__init__()
        self.samples = samples
        self.settings = settings
        self.seed = seed
        self.steps = steps
        self.images = ReferenceImages([sample.image for sample in samples.references], image_size)
        # Made here, so that a wrong folder is refused before the index is built.
        source = settings.anomaly_sources
        self.defects = SyntheticDefects(
            samples.kind.value,
            generated_texture if source is None else TextureFolder(Path(source).expanduser()),
            probability=settings.defect_probability,
            scale=settings.defect_scale,
        )
        self.supervised = supervised or SupervisedSettings()
        self.defective = RealDefects.read(samples.defective, image_size) if samples.defective else None
        self._neighbors: Tensor | None = None
        self._foreground: Tensor | None = None
        self._supervision: Supervision | None = None

    def use_index(self, neighbors: Tensor, foreground: Tensor | None) -> None:
        """Tell which references go together.

        Args:
            neighbors: (R, K) rows, each reference's nearest others.
            foreground: (R, h, w) sharpened foreground maps, or None.
        """
        self._neighbors = neighbors
        self._foreground = foreground

    def use_defective(self, neighbors: Tensor, foreground: Tensor | None) -> None:
        """Tell which references go with the defective images.

        Args:
            neighbors: (N, K) rows, the references nearest to each.
            foreground: (N, h, w) their sharpened foreground maps, or None.
        """
        if self.defective is None:
            raise RuntimeError("There are no defective images to learn from.")
        extension = ExtendedAnomalies(self.defective, self.supervised)
        shown = self.supervised.shown_probability
        self._supervision = Supervision(self.defective, neighbors, foreground, shown, extension)

    def train_dataloader(self) -> DataLoader[Pair]:
        """Pairs from the step on at which a resumed training was interrupted; of every batch the part of this process,
        where several share it.
        """
        if self._neighbors is None or (self.defective is not None and self._supervision is None):
            raise RuntimeError("The offline index is not set: train with the callback OfflineIndex.")
        trainer = self.trainer
        batch = self.settings.batch_size
        per_step = batch * (trainer.accumulate_grad_batches if trainer else 1)
        dataset = PairDataset(
            self.images,
            self._neighbors,
            self.defects,
            Augmentation(self.settings.augment_probability),
            self._foreground,
            self.seed,
            self.steps * per_step,
            self._supervision,
        )
        rank, processes = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        start = (trainer.global_step if trainer else 0) * per_step
        return DataLoader(
            dataset,
            batch_size=batch // processes,
            sampler=Onward(start, len(dataset), batch, rank=rank, processes=processes),
            num_workers=loader_workers(self.settings.workers, processes),
            collate_fn=collate,
            worker_init_fn=_single_threaded,
            pin_memory=torch.cuda.is_available(),
        )


def loader_workers(asked: int | None, processes: int = 1) -> int:
    """Loader processes: as asked, else one less than the cores, so that the training step keeps one; at most 4, or 16
    where a GPU computes and asks for hundreds of pairs a second. Of several processes that train, each has so many as
    were asked for, or its share of the cores.
    """
    if asked is not None:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    return min(max(cores // processes - 1, 0), 16 if torch.cuda.is_available() else 4)


def _single_threaded(worker: int) -> None:
    """Keep a worker to one core: OpenCV's and torch's own threads would fight with the training step for the others."""
    del worker
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
