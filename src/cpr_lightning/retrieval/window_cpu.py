"""The δ-window on the CPU: the query in parts, one per thread, each searched by :mod:`.window_cpu_search`."""

import zlib
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from cpr_lightning.choices import Codec
from cpr_lightning.kernels import kept, torch_threads
from cpr_lightning.retrieval import window_cpu_search, window_cpu_tile
from cpr_lightning.retrieval.stored import Stored
from cpr_lightning.retrieval.window import WindowMatch
from cpr_lightning.retrieval.window_cpu_search import FLAT, FP16, PQ, SQ8, search
from cpr_lightning.retrieval.window_cpu_tile import BAND

_PRODUCTS = 1 << 20  # for which another thread is worth waking
_CODECS = {Codec.flat: FLAT, Codec.fp16: FP16, Codec.sq8: SQ8, Codec.pq: PQ}


def match_window_cpu(
    query: Tensor, references: Stored, neighbors: Tensor, window: int, *, places: bool = True
) -> WindowMatch:
    """:func:`~cpr_lightning.retrieval.window.match_window` on the CPU, with as many threads as torch uses.

    Beyond the result it holds ``window`` rows of the query in float32, and all of it where it is of another type.
    References whose vectors are not contiguous, which no bank has, are copied.

    Raises:
        IndexError: a neighbor is not among the references.
    """
    batch, height, width, _ = query.shape
    # NumPy where it is all the same: an operation of torch on a few numbers takes ten times as long as one of NumPy.
    rows = neighbors.to("cpu", torch.int64).numpy()
    codes = references.codes
    if rows.size and not 0 <= rows.min() <= rows.max() < len(codes):
        raise IndexError(f"There are {len(codes)} references, but the neighbors are {rows.tolist()}.")
    if codes.stride(3) != 1:
        chosen, rows = np.unique(rows, return_inverse=True)
        codes = codes[torch.from_numpy(chosen)].contiguous()
        rows = rows.reshape(neighbors.shape)
    image_bytes, row_bytes, cell_bytes = (codes.stride(axis) * codes.element_size() for axis in range(3))
    distance = np.empty((batch, height, width), np.float32)  # at first the similarity
    place = torch.empty(batch, height * places, width * places, dtype=torch.int64)
    products = query.numel() * neighbors.shape[1] * window * window
    with torch_threads(max(1, min(batch * height, products // _PRODUCTS))) as threads:
        _search_parts(
            query.detach().float().numpy(),
            _CODECS[references.codec],
            codes.data_ptr() + rows * image_bytes,
            row_bytes,
            cell_bytes,
            _numbers(references.scale, 1),
            _numbers(references.offset, 1),
            _numbers(references.codebook, 3),
            window // 2,
            _parts(batch, height, width, window // 2, threads),
            distance,
            place.numpy(),
        )
    # Rounding may make the product of two unit vectors a little larger than 1.
    np.maximum(np.subtract(1, distance, out=distance), 0, out=distance)
    return WindowMatch(torch.from_numpy(distance), place)


def _numbers(values: Tensor | None, axes: int) -> np.ndarray:
    return np.empty((0,) * axes, np.float32) if values is None else values.float().contiguous().numpy()


@lru_cache(maxsize=64)
def _parts(batch: int, height: int, width: int, reach: int, threads: int) -> np.ndarray:
    """Every image in ``threads`` parts of one size: (parts, 5) int64 of (image, top, bottom, left, right)."""

    def cost(across: int) -> int:
        """Tiles of the largest part; the border rows of a reference are matched by the part above and the one below."""
        down = threads // across
        tiles = -(-width // (across * BAND.columns))
        return (-(-height // down) + 2 * reach * (down > 1)) * tiles

    across = min((number for number in range(threads, 0, -1) if threads % number == 0), key=cost)
    tops = np.linspace(0, height, threads // across + 1).round().astype(int)
    lefts = np.linspace(0, width, across + 1).round().astype(int)
    parts = [
        (image, top, bottom, left, right)
        for image in range(batch)
        for top, bottom in pairwise(tops)
        for left, right in pairwise(lefts)
        if top < bottom and left < right
    ]
    return np.array(parts, np.int64).reshape(-1, 5)


def _load() -> Callable[..., None]:
    # Numba's cache looks at the time of this file alone; but it sees what a closure holds.
    sources = [Path(module.__file__ or "") for module in (window_cpu_search, window_cpu_tile)]
    version = zlib.crc32(b"".join(source.read_bytes() for source in sources))

    def search_parts(
        query: Any, codec, images, row_bytes, cell_bytes, scale, offset, codebook, reach, parts, similarity, place
    ):
        if version < 0:  # never
            return
        for at in numba.prange(len(parts)):
            image, top, bottom, left, right = parts[at]
            search(
                query[image],
                codec,
                images[image],
                row_bytes,
                cell_bytes,
                scale,
                offset,
                codebook,
                reach,
                (top, bottom, left, right),
                similarity[image],
                place[image],
            )

    return kept(
        search_parts,
        "void(float32[:,:,:,:], int64, int64[:,::1], int64, int64, float32[::1], float32[::1], float32[:,:,::1], "
        "int64, int64[:,::1], float32[:,:,::1], int64[:,:,::1])",
    )


_search_parts = _load()
