"""One training run from settings to a run directory that can score images."""

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.loggers import Logger

from cpr_lightning.assembly import assemble, create_backbone, create_branch, feature_shapes, ready
from cpr_lightning.choices import Kind, Search
from cpr_lightning.data.datamodule import PairDataModule, ReferenceImages
from cpr_lightning.data.held_out import hold_out
from cpr_lightning.data.images import read_image
from cpr_lightning.data.samples import Samples
from cpr_lightning.errors import RunError
from cpr_lightning.evaluation.calibration import calibrate
from cpr_lightning.evaluation.validation import validation_score
from cpr_lightning.files import write_json
from cpr_lightning.model.foreground import sharpen
from cpr_lightning.model.index import ReferenceIndex
from cpr_lightning.model.network import LocalFeatures
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.retrieval.codecs import check_vectors
from cpr_lightning.retrieval.whole_bank import choose_coreset, save_coreset
from cpr_lightning.runs import Run, save_model, save_settings
from cpr_lightning.runtime.choosing import rehearse
from cpr_lightning.settings import Settings
from cpr_lightning.training.building import IndexSettings, describe
from cpr_lightning.training.checkpoints import LAST
from cpr_lightning.training.indexing import OfflineIndex
from cpr_lightning.training.processes import process_count
from cpr_lightning.training.trainer import fit

log = logging.getLogger(__name__)

_STEPS = {Kind.object: 40_000, Kind.texture: 500}  # the released code's
_BATCH = 8
_CODEC_IMAGES = 16  # that a codec with something to learn (sq8, pq) learns from


def train_run(
    settings: Settings, samples: Samples, folder: Path, device: torch.device, loggers: Sequence[Logger] = ()
) -> Run:
    """Index the references, train the local branch, fill the bank, calibrate, and save all of it.

    Args:
        settings: checked.
        samples: of the category.
        folder: the run directory; a checkpoint in it is resumed if the settings ask for that.
        device: to compute on.
        loggers: of the training's curves.
    """
    count = process_count(settings, device)
    samples = hold_out(samples, settings)
    save_settings(folder, settings)
    steps = training_steps(settings, samples.kind)
    started = time.perf_counter()
    backbone = create_backbone(settings).to(device)
    features = LocalFeatures(backbone, create_branch(settings, backbone)).to(device)
    rehearse(features, settings.runtime, settings.precision, device, settings.image_size, settings.onnx_providers)
    data = PairDataModule(
        samples,
        settings.training,
        image_size=settings.image_size,
        seed=settings.seed,
        steps=steps,
        supervised=settings.supervised,
    )
    cells = min(height * width for height, width, _ in feature_shapes(settings, backbone))
    check_vectors(settings.bank.codec, cells * min(_CODEC_IMAGES, len(data.images)))
    offline = OfflineIndex(_index_settings(settings, samples.kind), Path(settings.index_cache), device)
    index = offline.prepare(backbone, data.images)
    trained = 0
    if features.branch is not None and steps > 0:
        trained = fit(settings, samples.kind, features, data, offline, folder, loggers, count)
    features.to(device).eval()
    references = [str(sample.image) for sample in samples.references]
    save_model(folder, features, index, references)
    run = _with_bank(settings, features, index, data.images, samples, folder, device)
    facts: dict[str, Any] = {"steps": trained, "n_defective": len(samples.defective)}
    facts["training_seconds"] = time.perf_counter() - started
    if settings.validation.images:
        facts |= _validated(run, features, index, samples, device)
    write_json(folder / "training.json", facts)
    return run


def training_steps(settings: Settings, kind: Kind) -> int:
    """Optimiser steps: what the trainer or the settings say, else the released code's number for the kind."""
    if "max_steps" in settings.trainer:
        return int(settings.trainer["max_steps"])
    return _STEPS[kind] if settings.training.max_steps is None else settings.training.max_steps


def _index_settings(settings: Settings, kind: Kind) -> IndexSettings:
    enabled = settings.foreground.enabled
    wanted = kind is Kind.object if enabled is None else enabled
    return IndexSettings(settings.retrieval, settings.foreground if wanted else None)


def refuse_other_run(folder: Path) -> None:
    """Refuse to start a run where another one lies, before anything of it is written over.

    Raises:
        RunError: the folder holds a checkpoint or a model.
    """
    if (folder / "checkpoints" / LAST).exists() or (folder / "model.safetensors").exists():
        raise RunError(f"{folder} already holds a run. Go on with resume={folder}, or choose another hydra.run.dir=.")


def _validated(
    run: Run, features: LocalFeatures, index: ReferenceIndex, samples: Samples, device: torch.device
) -> dict[str, Any]:
    """The validation score, None where it is undefined, and of how many images."""
    settings = run.settings
    rows = np.linspace(0, len(samples.validation) - 1, settings.validation.images).round().astype(int).tolist()
    images = [read_image(samples.validation[row].image, settings.image_size) for row in rows]
    _, maps = describe(features.backbone, np.stack(images), index, settings.retrieval, device)
    where = None if maps is None else list(sharpen(maps).numpy())
    score = validation_score(run.cascade, images, where, kind=samples.kind, seed=settings.seed, device=device)
    log.info("Validation score %.4f (pixel AP of synthetic defects on %d held-out images)", score, len(images))
    return {"validation_score": None if math.isnan(score) else score, "n_validation": len(images)}


def _with_bank(
    settings: Settings,
    features: LocalFeatures,
    index: ReferenceIndex,
    images: ReferenceImages,
    samples: Samples,
    folder: Path,
    device: torch.device,
) -> Run:
    """Fill the bank with the trained features of all references, and calibrate on it."""
    bank = ReferenceBank(feature_shapes(settings, features.backbone), settings.bank.codec, capacity=len(images))

    @torch.inference_mode()
    def descriptors(rows: Sequence[int]) -> list[torch.Tensor]:
        return features(torch.from_numpy(np.stack([images(row) for row in rows])).to(device))[1]

    if bank.needs_training:
        sample = np.linspace(0, len(images) - 1, min(_CODEC_IMAGES, len(images))).round().astype(int).tolist()
        bank.train(descriptors(sample))
    for start in range(0, len(images), _BATCH):
        bank.add(descriptors(range(start, min(start + _BATCH, len(images)))))
    bank.save(folder / "bank")
    coreset = None
    if settings.retrieval.search is Search.coreset:
        coreset = choose_coreset(bank, settings.retrieval.coreset, settings.seed)
        save_coreset(folder / "bank", coreset, bank)
    cascade = ready(assemble(settings, features, index, bank, coreset), settings, device)
    validation = [sample.image for sample in samples.validation]
    calibration = calibrate(cascade, images, settings.calibration, device, validation)
    calibration.save(folder / "calibration.json")
    return Run(folder, settings, cascade, [str(sample.image) for sample in samples.references], calibration)
