"""The offline index: built once for a category and backbone, cached under a fingerprint of all that it depends on."""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import lightning
import torch
from filelock import FileLock, Timeout

from cpr_lightning.choices import Search
from cpr_lightning.data.datamodule import PairDataModule, ReferenceImages
from cpr_lightning.files import new_folder, write_json
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.foreground import sharpen
from cpr_lightning.model.index import ReferenceIndex
from cpr_lightning.training.building import IndexSettings, build_index, describe

log = logging.getLogger(__name__)

_OF_SCORING = ("windows", "search", "coreset")  # keys of retrieval that the index does not depend on
_VERSION = 1  # raised whenever the same settings would give another index


class OfflineIndex(lightning.Callback):
    """Has the index ready before the first training step, and tells the data module which references go together.

    Args:
        settings: of the index.
        cache: folder shared by all runs.
        device: to compute features on.
    """

    def __init__(self, settings: IndexSettings, cache: Path, device: torch.device) -> None:
        self.settings = settings
        self.cache = cache
        self.device = device
        self.index: ReferenceIndex | None = None

    def prepare(self, backbone: Backbone, images: ReferenceImages) -> ReferenceIndex:
        """The index, from the cache or built now."""
        if self.index is None:
            self.index = cached_index(backbone, images, self.settings, self.cache, self.device)
        return self.index

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Runs before Lightning asks for the training data."""
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        assert isinstance(data, PairDataModule)
        assert isinstance(pl_module.backbone, Backbone)
        index = self.prepare(pl_module.backbone, data.images)
        maps = None if index.foreground_maps is None else sharpen(index.foreground_maps)
        targeted = self.settings.retrieval.search is Search.targeted
        data.use_index(index.neighbors if targeted else any_other(len(index)), maps)
        if data.defective is not None:
            # On the module's device: each process of trainer=ddp has one of its own.
            near, maps = describe(
                pl_module.backbone, data.defective.images, index, self.settings.retrieval, pl_module.device
            )
            if not targeted:
                near = torch.arange(len(index)).expand(len(near), -1)
            data.use_defective(near, None if maps is None else sharpen(maps))


def any_other(references: int) -> torch.Tensor:
    """(R, R − 1) rows: each reference's others, for training pairs where none are targeted. A view of 2 R numbers."""
    around = torch.arange(2 * references) % references
    return around.unfold(0, references - 1, 1)[1 : references + 1]


def cached_index(
    backbone: Backbone, images: ReferenceImages, settings: IndexSettings, cache: Path, device: torch.device
) -> ReferenceIndex:
    """Load the index of these images, backbone and settings from ``cache``, or build and keep it there.

    An interrupted build leaves nothing behind: the folder appears under its name only when it is complete.
    """
    folder = cache / fingerprint(backbone, images, settings)
    path = folder / "index.safetensors"
    with _alone(cache, folder.name):
        if path.is_file():
            log.info("Index of %d references taken from %s", len(images), folder)
            return ReferenceIndex.load(path)
        # Nothing but somebody's deleting leaves a folder without its index; it would keep ours from taking its place.
        shutil.rmtree(folder, ignore_errors=True)
        for half in cache.glob(f".{folder.name}.*"):  # of a build that was killed
            shutil.rmtree(half, ignore_errors=True)
        log.info("Indexing %d references", len(images))
        index = build_index(backbone, images, settings, device)
        with new_folder(folder) as temporary:
            index.save(temporary / path.name)
            write_json(temporary / "settings.json", _facts(backbone, images, settings))
        log.info("Index kept in %s", folder)
        return index


@contextmanager
def _alone(cache: Path, name: str) -> Iterator[None]:
    """Let one process build an index, and the others wait for it. A process that ends in whatever way lets it go."""
    locks = cache / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("Another process is building the index %s: waiting for it", cache / name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def fingerprint(backbone: Backbone, images: ReferenceImages, settings: IndexSettings) -> str:
    """Name of the cache folder: equal for equal image contents, backbone weights and settings, and only then."""
    return hashlib.sha256(json.dumps(_facts(backbone, images, settings), sort_keys=True).encode()).hexdigest()[:24]


def _facts(backbone: Backbone, images: ReferenceImages, settings: IndexSettings) -> dict[str, object]:
    digest = hashlib.sha256()
    for path in images.paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    retrieval = {key: value for key, value in asdict(settings.retrieval).items() if key not in _OF_SCORING}
    facts = {
        "version": _VERSION,
        "images": digest.hexdigest(),
        "image_size": images.size,
        "backbone": [backbone.name, backbone.layers, backbone.fingerprint],
        "retrieval": retrieval,
        "foreground": None if settings.foreground is None else asdict(settings.foreground),
    }
    return json.loads(json.dumps(facts, default=lambda value: value.value))
