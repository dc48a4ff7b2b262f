"""Building the offline index from a category's references."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cpr_lightning.choices import Reading
from cpr_lightning.data.datamodule import ReferenceImages
from cpr_lightning.errors import DataError, SettingsError
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.foreground import Foreground, fit_foreground
from cpr_lightning.model.global_retrieval import (
    GlobalRetrieval,
    assign_codes,
    block_histograms,
    fit_codebook,
)
from cpr_lightning.model.index import ReferenceIndex
from cpr_lightning.settings import ForegroundSettings, RetrievalSettings

_BATCH = 16
_FOREGROUND_WORDS = 2


class IndexSettings(NamedTuple):
    """All that an index depends on, beside the images and the backbone."""

    retrieval: RetrievalSettings
    foreground: ForegroundSettings | None  # None: no foreground branch


def build_index(
    backbone: Backbone, images: ReferenceImages, settings: IndexSettings, device: torch.device
) -> ReferenceIndex:
    """Codebook, histograms, neighbors and foreground of a category's references.

    Raises:
        DataError: there are fewer references than ``retrieval.neighbors``.
    """
    retrieval = settings.retrieval
    if len(images) < max(2, retrieval.neighbors):
        raise DataError(
            f"There are {len(images)} good images, but retrieval.neighbors={retrieval.neighbors} asks for as many "
            f"references (and training for two at least). Add good images, or lower retrieval.neighbors."
        )
    rng = np.random.default_rng(retrieval.codebook_seed)
    with tempfile.TemporaryDirectory(prefix="cpr-index-") as scratch:
        features = _raw_features(backbone, images, Path(scratch), device)
        codebook = _codebook(features, retrieval.clusters, retrieval, rng)
        codes = _codes(features, codebook, device)
        histograms = block_histograms(torch.from_numpy(codes), retrieval.clusters, retrieval.blocks)
        foreground = None
        if settings.foreground is not None:
            words = codes
            if settings.foreground.method is Reading.official:
                words = _codes(features, _codebook(features, _FOREGROUND_WORDS, retrieval, rng), device)
            foreground = fit_foreground(features, words, settings.foreground, rng)
        maps = None if foreground is None else _maps(foreground, features)
    return ReferenceIndex(
        codebook=torch.from_numpy(codebook),
        histograms=histograms,
        neighbors=_neighbors(torch.from_numpy(codebook), histograms, retrieval),
        foreground_weight=None if foreground is None else foreground.weight,
        foreground_bias=None if foreground is None else foreground.bias,
        foreground_maps=maps,
    )


def describe(
    backbone: Backbone,
    images: NDArray[np.uint8],
    index: ReferenceIndex,
    settings: RetrievalSettings,
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What the index says of images that are no references.

    Args:
        backbone: that the index was built with.
        images: (N, H, W, 3) uint8.
        index: of the references.
        settings: that the index was built with.
        device: to compute features on.

    Returns:
        (N, K) int64, the references nearest to each; (N, h, w) raw foreground maps, or None if the index has none.
    """
    raw = [backbone(torch.from_numpy(part).to(device))[0].cpu() for part in _batches(images)]
    codes = torch.cat([assign_codes(part, index.codebook) for part in raw])
    retrieval = GlobalRetrieval(index.codebook, index.histograms, settings.ignored_blocks, settings.divergence)
    neighbors = retrieval(codes, settings.neighbors)
    if index.foreground_weight is None or index.foreground_bias is None:
        return neighbors, None
    foreground = Foreground(index.foreground_weight, index.foreground_bias)
    return neighbors, torch.cat([foreground(part) for part in raw])


def _batches(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]


def _raw_features(backbone: Backbone, images: ReferenceImages, scratch: Path, device: torch.device) -> np.ndarray:
    """First-scale raw features of all references, (R, C, h, w), in a file: they may be larger than the memory."""
    cells = backbone.grid(0, images.size)
    shape = (len(images), backbone.channels[0], cells, cells)
    features = np.lib.format.open_memmap(scratch / "features.npy", mode="w+", dtype=np.float32, shape=shape)
    for start in range(0, len(images), _BATCH):
        rows = range(start, min(start + _BATCH, len(images)))
        batch = torch.from_numpy(np.stack([images(row) for row in rows])).to(device)
        features[rows.start : rows.stop] = backbone(batch)[0].cpu().numpy()
    return features


def _codebook(features: np.ndarray, clusters: int, settings: RetrievalSettings, rng: np.random.Generator) -> np.ndarray:
    cells = features.shape[0] * features.shape[2] * features.shape[3]
    if clusters > cells:
        raise SettingsError(f"retrieval.clusters={clusters} is more than the {cells} cells of all references.")
    chosen = np.sort(rng.choice(cells, min(settings.codebook_vectors, cells), replace=False))
    image, row, column = np.unravel_index(chosen, (features.shape[0], *features.shape[2:]))
    return fit_codebook(features[image, :, row, column], clusters, settings.codebook_restarts, settings.codebook_seed)


def _codes(features: np.ndarray, codebook: np.ndarray, device: torch.device) -> np.ndarray:
    centres = torch.from_numpy(codebook).to(device)
    parts = [
        assign_codes(torch.from_numpy(features[start : start + _BATCH].copy()).to(device), centres).cpu().numpy()
        for start in range(0, len(features), _BATCH)
    ]
    return np.concatenate(parts)


def _maps(foreground: Foreground, features: np.ndarray) -> torch.Tensor:
    return torch.cat([foreground(torch.from_numpy(image[None].copy())) for image in features])


def _neighbors(codebook: torch.Tensor, histograms: torch.Tensor, settings: RetrievalSettings) -> torch.Tensor:
    """Each reference's K nearest others, itself excluded by a mask and not by dropping rank 0."""
    wanted = min(settings.neighbors, len(histograms) - 1)
    retrieval = GlobalRetrieval(codebook, histograms, settings.ignored_blocks, settings.divergence)
    batches = torch.arange(len(histograms)).split(_BATCH)
    return torch.cat([retrieval.rank(histograms[batch], wanted, batch) for batch in batches])
