"""Matching without targeting and without places (ablation whole_bank): every query cell with a coreset of the bank.

This is PatchCore on the same features: FAISS finds the nearest of the chosen vectors, wherever in whatever reference
they come from. A *place* is a cell of a scale of the bank, ``(reference · H + row) · W + column``.
"""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cpr_lightning.errors import RunError, SettingsError
from cpr_lightning.files import write_tensors
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.retrieval.coreset import k_center
from cpr_lightning.retrieval.stored import Stored

log = logging.getLogger(__name__)

_FILE = "coreset.safetensors"
_IMAGES = 16  # references decoded at a time
_AT_ONCE = 1 << 16  # vectors of the coreset decoded at a time


def choose_coreset(bank: ReferenceBank, share: float, seed: int) -> list[Tensor]:
    """Places of a share of the bank's vectors, per scale, chosen by k-center-greedy (:mod:`.coreset`).

    Args:
        bank: filled, on the CPU.
        share: of the vectors, in (0, 1]; 1 takes all. At least one is taken.
        seed: of the vector that the choice begins with.

    Returns:
        (n,) int64 of each scale, ascending.
    """
    chosen = []
    for number, references in enumerate(bank.stored(), start=1):
        cells = _cells(references)
        count = _count(cells, share)
        if count == cells:
            chosen.append(torch.arange(cells))
            continue
        with tempfile.TemporaryDirectory(prefix="cpr-coreset-") as scratch:
            rows, radius = k_center(_decoded(references, Path(scratch)), count, seed)
        log.info("Coreset of scale %d: %d of %d vectors, the others within %.3f", number, len(rows), cells, radius)
        chosen.append(torch.from_numpy(np.sort(rows)))
    return chosen


def spread_coreset(bank: ReferenceBank, share: float) -> list[Tensor]:
    """Places evenly spread over the bank, as many as :func:`choose_coreset` takes: enough to measure speed with."""
    cells = [_cells(references) for references in bank.stored()]
    return [torch.linspace(0, each - 1, _count(each, share), dtype=torch.float64).long() for each in cells]


def match_anywhere(query: Tensor, references: Stored, places: Tensor, excluded: Tensor | None) -> Tensor:
    """The distance of each query cell to the nearest vector of the coreset, wherever that lies.

    Args:
        query: (B, H, W, D), unit length over D, on any device; FAISS searches on the CPU.
        references: one scale of the bank.
        places: (n,) int64, the coreset.
        excluded: (B,) a reference whose vectors must not be matched (a reference's own row, when it is the query), or
            None.

    Returns:
        (B, H, W) float32 cosine distance in [0, 2], as :func:`~cpr_lightning.retrieval.window.match_window` gives it.

    Raises:
        SettingsError: only the excluded reference has vectors in the coreset.
    """
    height, width = references.grid
    cells = references._replace(codes=references.codes.reshape(-1, 1, 1, references.codes.shape[3]))
    distances = []
    for number, image in enumerate(query):
        allowed = places
        if excluded is not None:
            allowed = places[places // (height * width) != int(excluded[number])]
        if not len(allowed):
            raise SettingsError(
                "All vectors of the coreset come from one good image, which cannot be scored against the others then. "
                "Raise retrieval.coreset."
            )
        vectors = image.detach().flatten(0, 1).float().cpu().numpy()
        similarity = np.full(len(vectors), -np.inf, np.float32)
        for some in allowed.split(_AT_ONCE):
            decoded = cells.decode(some.to(cells.codes.device)).flatten(1).cpu().numpy()
            found, _ = faiss.knn(vectors, decoded, 1, metric=faiss.METRIC_INNER_PRODUCT)
            np.maximum(similarity, found[:, 0], out=similarity)
        distances.append(torch.from_numpy(1 - similarity).view(image.shape[:2]))
    # Rounding may make the product of two unit vectors a little larger than 1.
    return torch.stack(distances).clamp_(min=0).to(query.device)


def save_coreset(folder: Path, places: Sequence[Tensor], bank: ReferenceBank) -> None:
    """Write the places beside the bank's own files; to choose them again would take longer than all the rest."""
    tensors = {f"scale{number}": each for number, each in enumerate(places, start=1)}
    write_tensors(folder / _FILE, tensors, {"references": str(len(bank))})


def load_coreset(folder: Path, bank: ReferenceBank) -> list[Tensor]:
    """Read what :func:`save_coreset` wrote.

    Raises:
        RunError: the file is missing, damaged, or of a bank with other references.
    """
    path = folder / _FILE
    if not path.is_file():
        raise RunError(f"{path} is missing: the run is incomplete. Train it again, or finish it with resume=.")
    try:
        with safe_open(path, framework="pt") as file:
            references = (file.metadata() or {}).get("references")
            places = [file.get_tensor(f"scale{number}") for number in range(1, len(bank.shapes) + 1)]
    except SafetensorError as error:
        raise RunError(f"{path} cannot be read ({error}). Copy it again, or train the run again.") from error
    if references != str(len(bank)):
        raise RunError(
            f"{path} was chosen from {references} references, but the bank holds {len(bank)}. Train the run again."
        )
    return places


def _cells(references: Stored) -> int:
    height, width = references.grid
    return len(references.codes) * height * width


def _count(cells: int, share: float) -> int:
    return max(1, round(share * cells))


def _decoded(references: Stored, scratch: Path) -> NDArray[np.float32]:
    """All vectors (cells, D), in a file: they may be larger than the memory."""
    shape = (len(references.codes), *references.grid, references.dim)
    vectors = np.lib.format.open_memmap(scratch / "vectors.npy", mode="w+", dtype=np.float32, shape=shape)
    for rows in torch.arange(shape[0]).split(_IMAGES):
        vectors[int(rows[0]) : int(rows[-1]) + 1] = references.decode(rows).numpy()
    return np.asarray(vectors).reshape(-1, references.dim)
