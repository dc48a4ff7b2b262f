"""The fused δ-window on CUDA, in Triton: the bank is read in place, and nothing larger than K maps of scalars is made.

One launch finds the best of every neighbor, a second the best of the K (:mod:`.window_cuda_kernels` says why); nothing
is synchronised.

Precision: products are summed in float32; the query's type decides how they are made. float16 and bfloat16 queries are
multiplied in float16, which holds the numbers of a bfloat16 unit vector and of an fp16 bank as they are; those of other
codecs are rounded to it. float32 and float64 queries are multiplied as float32, in three TF32 products.
"""

from typing import Any

import torch
import triton
from torch import Tensor

from cpr_lightning.choices import Codec
from cpr_lightning.retrieval.stored import Stored
from cpr_lightning.retrieval.window import WindowMatch
from cpr_lightning.retrieval.window_cuda_kernels import best_neighbor, match_tiles

_TILE = 8  # query cells on a side of a tile: 64, the least a warp group of tensor cores multiplies
_NEIGHBORS_AT_ONCE = 16  # of the second kernel; the default K fits, so that all its loads are in flight together
_CELLS_AT_ONCE = 64


def match_window_cuda(
    query: Tensor, references: Stored, neighbors: Tensor, window: int, *, places: bool = True
) -> WindowMatch:
    """:func:`~cpr_lightning.retrieval.window.match_window` on CUDA; the query's type sets the precision (see above).

    ``neighbors`` that are not on the query's device yet are copied there, which a CUDA graph cannot record.
    """
    batch, height, width, dim = query.shape
    count = neighbors.shape[1]
    neighbors = neighbors.to(query.device)
    similarity = query.new_empty((batch, count, height, width), dtype=torch.float32)
    place = query.new_empty((batch, count, height, width), dtype=torch.int32)
    distance = query.new_empty((batch, height, width), dtype=torch.float32)
    position = query.new_empty((batch, height * places, width * places), dtype=torch.int64)

    half = query.dtype in (torch.float16, torch.bfloat16)
    # Four bytes a number fill shared memory twice as fast as two.
    most_numbers = 64 if half and references.codec in (Codec.fp16, Codec.sq8) else 32
    reach_rows, reach_columns = min(window // 2, height - 1), min(window // 2, width - 1)
    halo_rows, halo_columns = min(_TILE + 2 * reach_rows, height), min(_TILE + 2 * reach_columns, width)
    halo = halo_rows * halo_columns
    tiles = triton.cdiv(height, _TILE) * triton.cdiv(width, _TILE)
    with torch.cuda.device_of(query):
        launched: Any = match_tiles[tiles, count, batch]
        launched(
            query,
            *query.stride(),
            references.codes,
            *references.codes.stride(),
            references.scale,
            references.offset,
            references.codebook,
            neighbors,
            *neighbors.stride(),
            similarity,
            place,
            height,
            width,
            DIM=dim,
            PART=1 if references.codebook is None else references.codebook.shape[2],
            REACH_ROWS=reach_rows,
            REACH_COLUMNS=reach_columns,
            HALO_ROWS=halo_rows,
            HALO_COLUMNS=halo_columns,
            HALF=half,
            TILE=_TILE,
            # The block that leaves least of the last one empty; the larger where they are equal.
            HALO_BLOCK=min((128, 64), key=lambda block: triton.cdiv(halo, block) * block),
            DIM_BLOCK=min(most_numbers, max(16, triton.next_power_of_2(dim))),
            num_warps=4,
            num_stages=3,
        )
        launched = best_neighbor[triton.cdiv(height * width, _CELLS_AT_ONCE), batch]
        launched(
            similarity,
            place,
            distance,
            position if places else None,
            height * width,
            count,
            CELLS=_CELLS_AT_ONCE,
            NEIGHBORS=_NEIGHBORS_AT_ONCE,
            num_warps=2,
        )
    return WindowMatch(distance, position)
