"""A cascade whose references are simulated: how fast it is depends on sizes alone, not on what was learned.

Descriptors, histograms and foreground maps are random but always the same, and lie where those of a run lie: in a bank
on disk that is mapped into memory.
"""

import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.assembly import assemble, create_backbone, create_branch, feature_shapes
from cpr_lightning.choices import Kind, Search
from cpr_lightning.data.images import list_images, read_image
from cpr_lightning.data.tiny import TINY_CATEGORIES, write_tiny
from cpr_lightning.errors import SettingsError
from cpr_lightning.model.cascade import CascadePatchRetrieval
from cpr_lightning.model.index import ReferenceIndex
from cpr_lightning.model.network import LocalFeatures
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.retrieval.whole_bank import spread_coreset
from cpr_lightning.settings import Settings

_MEMORY = Path("/proc/meminfo")
_SEED = 0
_DIFFERENT = 16  # images that the bank holds over and over: random numbers take longer to draw than to store


def write_pictures(folder: Path, kind: Kind, size: int, count: int) -> list[Path]:
    """Write ``count`` generated PNG images of an object or a texture, ``size`` pixels on a side."""
    write_tiny(folder, size=size, train=count, test_good=1, test_per_defect=1)
    category = next(name for name, shown in TINY_CATEGORIES.items() if shown == kind.value)
    return list_images(folder / category / "train")


def simulate(
    settings: Settings, kind: Kind, references: int, pictures: list[Path], folder: Path
) -> CascadePatchRetrieval:
    """A cascade as the settings describe it, with simulated references.

    Args:
        settings: checked.
        kind: objects have a foreground branch, unless the settings say otherwise.
        references: R.
        pictures: some images; words of their features make the codebook, so that different images differ in words.
        folder: for the bank, on a disk with room for it; it is there, and stays as long as the cascade.

    Raises:
        SettingsError: memory or disk have no room for the bank, or its codec cannot store it.
    """
    backbone = create_backbone(settings)
    features = LocalFeatures(backbone, create_branch(settings, backbone)).eval()
    bank = _bank(settings, features, references, folder)
    enabled = settings.foreground.enabled
    index = _index(settings, features, references, pictures, kind is Kind.object if enabled is None else enabled)
    coreset = None
    if settings.retrieval.search is Search.coreset:
        coreset = spread_coreset(bank, settings.retrieval.coreset)
    return assemble(settings, features, index, bank, coreset)


def _index(
    settings: Settings, features: LocalFeatures, references: int, pictures: list[Path], foreground: bool
) -> ReferenceIndex:
    rng = np.random.default_rng(_SEED)
    generator = torch.Generator().manual_seed(_SEED)
    retrieval = settings.retrieval
    channels, grid = features.backbone.channels[0], features.backbone.grid(0, settings.image_size)
    histograms = rng.dirichlet(np.full(retrieval.clusters + 1, 0.5), size=(references, retrieval.blocks**2))
    return ReferenceIndex(
        codebook=_words(settings, features, pictures, rng),
        histograms=torch.from_numpy(histograms.astype(np.float32)),
        neighbors=torch.zeros(references, 0, dtype=torch.int64),  # only training looks at them
        foreground_weight=torch.randn(channels, generator=generator) / channels if foreground else None,
        foreground_bias=torch.tensor(0.5) if foreground else None,
        foreground_maps=torch.rand(references, grid, grid, generator=generator) if foreground else None,
    )


def _words(settings: Settings, features: LocalFeatures, pictures: list[Path], rng: np.random.Generator) -> Tensor:
    """(clusters, C): raw features of random cells of the pictures."""
    chosen = rng.choice(len(pictures), settings.retrieval.clusters)
    words = []
    for picture in chosen.tolist():
        image = torch.from_numpy(read_image(pictures[picture], settings.image_size))
        raw = features.backbone(image[None])[0][0].flatten(1)
        words.append(raw[:, int(rng.integers(raw.shape[1]))])
    return torch.stack(words)


def _bank(settings: Settings, features: LocalFeatures, references: int, folder: Path) -> ReferenceBank:
    shapes = feature_shapes(settings, features.backbone)
    _refuse_too_large(ReferenceBank(shapes, settings.bank.codec), references, folder)
    bank = ReferenceBank(shapes, settings.bank.codec, capacity=references)
    generator = torch.Generator().manual_seed(_SEED)
    images = [
        F.normalize(torch.randn(min(_DIFFERENT, references), dim, height, width, generator=generator), dim=1)
        for height, width, dim in shapes
    ]
    if bank.needs_training:
        bank.train(images)
    for start in range(0, references, _DIFFERENT):
        bank.add([scale[: references - start] for scale in images])
    bank.save(folder)
    return ReferenceBank.load(folder, shapes, settings.bank.codec)


def _refuse_too_large(empty: ReferenceBank, references: int, folder: Path) -> None:
    """Refuse a bank that memory (where it is made) or disk (where it is mapped from) cannot hold."""
    cells = [height * width for height, width, _ in empty.shapes]
    image = sum(index.code_size * count for index, count in zip(empty.indexes, cells, strict=True))
    available = {"the memory": _free_memory(), str(folder): shutil.disk_usage(folder).free}
    for where, free in available.items():
        if free is not None and references * image > free:
            raise SettingsError(
                f"references={references} make a bank of {references * image / 1e9:.1f} GB, but {where} has "
                f"{free / 1e9:.1f} GB free: {free // image} references at most. Lower references, take a bank.codec "
                "of fewer bytes, or, for another disk, set the environment variable TMPDIR."
            )


def _free_memory() -> int | None:
    """Bytes that can be had without swapping; None where the system does not say."""
    if not _MEMORY.is_file():
        return None
    lines = _MEMORY.read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
