"""The search of a part of a query through its K references, for numba: loops, caches and ties.

A reference row is read once and meets all the query rows whose window holds it. A few columns at a time go through all
K references, so that this piece of the query stays in the first cache while the references stream by. Where a tile of
:mod:`.window_cpu_tile` stands out over the border, it takes the border's cells twice, which changes no maximum.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.np.numpy_support import carray

from cpr_lightning.retrieval.window_cpu_tile import BAND, DIAGONAL, LANES, SUMS, bytes_at, tile_products

# What a reference is stored as, for compiled code.
FLAT, FP16, SQ8, PQ = range(4)

_FIRST_CACHE = 32 * 1024  # bytes of the query to work on at a time
_float_band, _float_diagonal = tile_products("float", BAND), tile_products("float", DIAGONAL)
_half_band, _half_diagonal = tile_products("half", BAND), tile_products("half", DIAGONAL)
_byte_band, _byte_diagonal = tile_products("byte", BAND), tile_products("byte", DIAGONAL)

# Only what calls `search` is kept in numba's cache.
_compiled = numba.njit(nogil=True, error_model="numpy")


@numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _take_row(query, scale, offset, cells, constants):
    """Query cells (W, D) → ``cells``, times ``scale``; and their products with ``offset``, common to all references."""
    for column in range(len(query)):
        cell, taken = query[column], cells[column]
        if len(scale) == 0:
            for at in range(len(cell)):
                taken[at] = cell[at]
        else:
            constant = np.float32(0)
            for at in range(len(cell)):
                taken[at] = cell[at] * scale[at]
                constant += cell[at] * offset[at]
            constants[column] = constant


@_compiled
def _aligned(rows, columns, numbers):
    """Zeros that begin on a line of the cache: a vector across two lines takes two reads."""
    memory = np.zeros(rows * columns * numbers + 16, np.float32)
    first = -memory.ctypes.data % 64 // 4
    return memory[first : first + rows * columns * numbers].reshape(rows, columns, numbers)


@_compiled
def _decode(codes, codebook, cells):
    """Codes (W, M) of a product quantizer → ``cells`` (W, D)."""
    parts, _, size = codebook.shape
    for column in range(len(codes)):
        for part in range(parts):
            word = codebook[part, codes[column, part]]
            to = cells[column, part * size : (part + 1) * size]
            if size == 4:  # the usual: one instruction
                to[0], to[1], to[2], to[3] = word[0], word[1], word[2], word[3]
            else:
                for at in range(size):
                    to[at] = word[at]


def _matcher(rows: int, columns: int, offsets: int) -> Callable[..., Any]:
    """Make ``match``, which keeps the best of one piece of a reference row, for one shape of tile."""

    @_compiled
    def match(codec, source, apart, ahead, dim, ring, width, reach, piece, row, key, best, place):
        top, bottom, left, start, stop = piece
        kept, wide, padded = ring.shape
        kept_places = place.size > 0
        queries, references = np.empty(rows, np.int64), np.empty(columns + offsets - 1, np.int64)
        sums = np.empty(SUMS, np.float32)
        queries_at, references_at, sums_at = queries.ctypes.data, references.ctypes.data, sums.ctypes.data
        # Groups of rows and of offsets overlap where the window is not a multiple of them.
        for above in range(-reach, reach + 1, rows):
            first_row = row + min(above, reach + 1 - rows)
            for shift in range(-reach, reach + 1, offsets):
                first_offset = min(shift, reach + 1 - offsets)
                for at in range(rows):
                    query_row = max(top, min(first_row + at, bottom - 1))
                    queries[at] = ring.ctypes.data + ((query_row % kept) * wide + start - left) * padded * 4
                for column in range(start, stop, columns):
                    first = column + first_offset
                    for at in range(columns + offsets - 1):
                        references[at] = source + max(0, min(first + at, width - 1)) * apart
                    if rows == 1:
                        _diagonal(codec, queries_at, padded, references_at, dim, ahead, sums_at)
                    else:
                        _band(codec, queries_at, padded, references_at, dim, ahead, sums_at)
                    for at in range(rows):
                        queries[at] += columns * padded * 4
                        query_row = max(top, min(first_row + at, bottom - 1))
                        for beside in range(min(columns, stop - column)):
                            here = column + beside
                            if not kept_places:
                                highest = best[query_row, here]
                                for offset in range(offsets):
                                    product = sums[(offset * rows + at) * columns + beside]
                                    highest = product if product > highest else highest
                                best[query_row, here] = highest
                                continue
                            # No branches: which cell wins is as good as random.
                            highest, column_there = sums[at * columns + beside], first + beside
                            for offset in range(1, offsets):
                                product = sums[(offset * rows + at) * columns + beside]
                                column_there = first + beside + offset if product > highest else column_there
                                highest = product if product > highest else highest
                            cell = key + max(0, min(column_there, width - 1))
                            known, known_cell = best[query_row, here], place[query_row, here]
                            better = (highest > known) | ((highest == known) & (cell < known_cell))
                            best[query_row, here] = highest if better else known
                            place[query_row, here] = cell if better else known_cell

    return match


@_compiled
def _band(codec, queries, width, references, dim, ahead, sums):
    if codec == FP16:
        _half_band(queries, width, references, dim, ahead, sums)
    elif codec == SQ8:
        _byte_band(queries, width, references, dim, ahead, sums)
    else:
        _float_band(queries, width, references, dim, ahead, sums)


@_compiled
def _diagonal(codec, queries, width, references, dim, ahead, sums):
    if codec == FP16:
        _half_diagonal(queries, width, references, dim, ahead, sums)
    elif codec == SQ8:
        _byte_diagonal(queries, width, references, dim, ahead, sums)
    else:
        _float_diagonal(queries, width, references, dim, ahead, sums)


_match_band, _match_diagonal = _matcher(*BAND), _matcher(*DIAGONAL)


@_compiled
def search(query, codec, images, row_bytes, cell_bytes, scale, offset, codebook, reach, part, best, place):
    """Find the best match of the query cells of one part of one image.

    Args:
        query: (H, W, D) float32.
        codec: FLAT, FP16, SQ8 or PQ.
        images: (K,) addresses of the references; their rows and cells are ``row_bytes`` and ``cell_bytes`` apart.
        scale: (D,) and ``offset`` (D,) of SQ8, ``codebook`` (M, 256, D / M) of PQ; else empty.
        reach: cells of a window on each side of its middle.
        part: (top, bottom, left, right) of the query.
        best: (H, W) float32, written to: the largest product with a reference cell.
        place: (H, W) int64, written to: (neighbor · H + row) · W + column of that cell; (0, 0): not asked for.
    """
    height, width, dim = query.shape
    top, bottom, left, right = part
    columns = DIAGONAL.columns if reach == 0 else BAND.columns
    # A ring of query rows: those that a reference row can meet.
    kept = min(2 * reach + 1, bottom - top)
    padded = (dim + LANES - 1) // LANES * LANES
    ring = _aligned(kept, (right - left + columns - 1) // columns * columns, padded)
    constants = np.zeros((bottom - top, ring.shape[1]), np.float32)
    step = max(columns, _FIRST_CACHE // (kept * padded * 4) // columns * columns)
    if codec == PQ:  # cells on the border of two pieces are decoded twice
        step = max(1, right - left)
    decoded = np.empty((width if codec == PQ else 0, dim), np.float32)
    best[top:bottom, left:right] = -np.inf
    if place.size > 0:
        place[top:bottom, left:right] = 0
    taken = top
    for row in range(max(0, top - reach), min(height, bottom + reach)):
        while taken < min(bottom, row + reach + 1):
            _take_row(query[taken, left:right], scale, offset, ring[taken % kept], constants[taken - top])
            taken += 1
        for start in range(left, right, step):
            piece = (top, bottom, left, start, min(start + step, right))
            for rank in range(len(images)):
                source, apart = images[rank] + row * row_bytes, cell_bytes
                if rank + 1 < len(images):
                    ahead = images[rank + 1] - images[rank]
                else:
                    ahead = images[0] - images[rank] + step * cell_bytes
                if codec == PQ:
                    first, last = max(0, start - reach), min(width, start + step + reach)
                    codes = carray(bytes_at(source + first * cell_bytes), (last - first, cell_bytes), np.uint8)
                    _decode(codes, codebook, decoded[first:])
                    source, apart, ahead = decoded.ctypes.data, dim * 4, 0
                key = (rank * height + row) * width
                if reach == 0:
                    _match_diagonal(codec, source, apart, ahead, dim, ring, width, reach, piece, row, key, best, place)
                else:
                    _match_band(codec, source, apart, ahead, dim, ring, width, reach, piece, row, key, best, place)
    for row in range(top, bottom):
        for column in range(left, right):
            best[row, column] += constants[row - top, column - left]
