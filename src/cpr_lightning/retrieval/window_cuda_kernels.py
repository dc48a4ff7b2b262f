"""The two Triton kernels of the δ-window.

A program takes a tile of query cells of one image and one neighbor, multiplies it with all reference cells that any of
its windows reaches (its halo) as one matrix product, and keeps each query cell's best inside its own window. Most of
that product is thrown away: 6 GFLOP for a scale of 80 × 80 cells, D = 384, K = 10, which tensor cores make while its
126 MB are loaded. In return a number of a reference is loaded 1.6 times (window 3), not window² times. A second, tiny
kernel takes the best of the K neighbors: splitting those over programs is what fills a GPU with a single image.
"""

import triton
import triton.language as tl


@triton.jit
def match_tiles(
    query,  # (B, H, W, D), any strides
    query_image_stride,
    query_row_stride,
    query_column_stride,
    query_number_stride,
    codes,  # (N, H, W, bytes or numbers of a vector), any strides
    codes_image_stride,
    codes_row_stride,
    codes_column_stride,
    codes_number_stride,
    scale,  # (D,) of sq8, or None
    offset,
    codebook,  # (M, 256, PART) of pq, or None
    neighbors,  # (B, K)
    neighbors_image_stride,
    neighbors_rank_stride,
    similarity,  # out: (B, K, H, W), to the best cell of this neighbor
    place,  # out: (B, K, H, W), that cell's row · W + column
    height,
    width,
    DIM: tl.constexpr,
    PART: tl.constexpr,
    REACH_ROWS: tl.constexpr,
    REACH_COLUMNS: tl.constexpr,
    HALO_ROWS: tl.constexpr,
    HALO_COLUMNS: tl.constexpr,
    HALF: tl.constexpr,
    TILE: tl.constexpr,
    HALO_BLOCK: tl.constexpr,
    DIM_BLOCK: tl.constexpr,
):
    # Tiles run fastest, so that programs that share the rim of a halo run together and find it in the L2 cache.
    tiles_across = tl.cdiv(width, TILE)
    top = tl.program_id(0) // tiles_across * TILE
    left = tl.program_id(0) % tiles_across * TILE
    rank = tl.program_id(1)
    image = tl.program_id(2).to(tl.int64)
    row_of_bank = tl.load(neighbors + image * neighbors_image_stride + rank * neighbors_rank_stride).to(tl.int64)

    cell = tl.arange(0, TILE * TILE)
    row, column = top + cell // TILE, left + cell % TILE
    exists = (row < height) & (column < width)
    query_cells = query + image * query_image_stride
    query_cells += row.to(tl.int64) * query_row_stride + column.to(tl.int64) * query_column_stride

    # At the border the halo is pushed into the image: it then holds cells that no window reaches, but none that is not.
    halo_top = tl.minimum(tl.maximum(top - REACH_ROWS, 0), height - HALO_ROWS)
    halo_left = tl.minimum(tl.maximum(left - REACH_COLUMNS, 0), width - HALO_COLUMNS)
    best = tl.full((TILE * TILE,), float("-inf"), tl.float32)
    best_place = tl.zeros((TILE * TILE,), tl.int32)
    for first in range(0, HALO_ROWS * HALO_COLUMNS, HALO_BLOCK):
        there = first + tl.arange(0, HALO_BLOCK)
        there_exists = there < HALO_ROWS * HALO_COLUMNS
        there_row, there_column = halo_top + there // HALO_COLUMNS, halo_left + there % HALO_COLUMNS
        cells = codes + row_of_bank * codes_image_stride
        cells += there_row.to(tl.int64) * codes_row_stride + there_column.to(tl.int64) * codes_column_stride

        product = tl.zeros((TILE * TILE, HALO_BLOCK), tl.float32)
        for start in range(0, DIM, DIM_BLOCK):
            number = start + tl.arange(0, DIM_BLOCK)[None, :]
            ours = tl.load(
                query_cells[:, None] + number.to(tl.int64) * query_number_stride,
                mask=exists[:, None] & (number < DIM),
                other=0.0,
            )
            kept = there_exists[:, None] & (number < DIM)
            theirs = _decode(cells[:, None], codes_number_stride, number, kept, scale, offset, codebook, DIM, PART)
            if HALF:
                product = tl.dot(ours.to(tl.float16), tl.trans(theirs.to(tl.float16)), product)
            else:
                ours, theirs = ours.to(tl.float32), theirs.to(tl.float32)
                product = tl.dot(ours, tl.trans(theirs), product, input_precision="tf32x3")

        near_rows = tl.abs(row[:, None] - there_row[None, :]) <= REACH_ROWS
        near_columns = tl.abs(column[:, None] - there_column[None, :]) <= REACH_COLUMNS
        product = tl.where(there_exists[None, :] & near_rows & near_columns, product, float("-inf"))
        # The halo runs row by row, as windows do: the least place among equals is the earliest cell.
        found = tl.max(product, 1)
        there_place = tl.where(product == found[:, None], (there_row * width + there_column)[None, :], height * width)
        best_place = tl.where(found > best, tl.min(there_place, 1), best_place)
        best = tl.maximum(best, found)

    out = (image * tl.num_programs(1) + rank) * height * width + row * width + column
    tl.store(similarity + out, best, mask=exists)
    tl.store(place + out, best_place, mask=exists)


@triton.jit
def _decode(cells, stride, number, kept, scale, offset, codebook, DIM: tl.constexpr, PART: tl.constexpr):
    """Numbers ``number`` (1, n) of the vectors whose codes start at ``cells`` (c, 1), as (c, n), where ``kept``."""
    if codebook is not None:
        part = number // PART
        byte = tl.load(cells + part.to(tl.int64) * stride, mask=kept, other=0).to(tl.int32)
        values = tl.load(codebook + (part * 256 + byte) * PART + number % PART, mask=kept, other=0.0)
    elif scale is not None:
        values = tl.load(cells + number.to(tl.int64) * stride, mask=kept, other=0).to(tl.float32)
        inside = number < DIM
        values = values * tl.load(scale + number, mask=inside, other=0.0)
        values += tl.load(offset + number, mask=inside, other=0.0)
    else:
        values = tl.load(cells + number.to(tl.int64) * stride, mask=kept, other=0.0)
    return values


@triton.jit
def best_neighbor(
    similarity,  # (B, K, H, W)
    place,
    distance,  # out: (B, H, W)
    position,  # out: (B, H, W), neighbor · H · W + place; or None
    size,  # H · W
    count,  # K
    CELLS: tl.constexpr,
    NEIGHBORS: tl.constexpr,
):
    cell = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    exists = cell < size
    image = tl.program_id(1).to(tl.int64)
    ours = image * count * size + cell
    best = tl.full((CELLS,), float("-inf"), tl.float32)
    best_rank = tl.zeros((CELLS,), tl.int32)
    for first in range(0, count, NEIGHBORS):
        rank = first + tl.arange(0, NEIGHBORS)[:, None]
        found = tl.load(
            similarity + ours[None, :] + rank.to(tl.int64) * size,
            mask=(rank < count) & exists[None, :],
            other=float("-inf"),
        )
        most = tl.max(found, 0)
        nearest = tl.min(tl.where(found == most[None, :], rank, count), 0)
        best_rank = tl.where(most > best, nearest, best_rank)
        best = tl.maximum(best, most)
    out = image * size + cell
    # Rounding may make the product of two unit vectors a little larger than 1.
    tl.store(distance + out, tl.maximum(1 - best, 0.0), mask=exists)
    if position is not None:
        best_place = tl.load(place + ours + best_rank.to(tl.int64) * size, mask=exists, other=0)
        tl.store(position + out, best_rank.to(tl.int64) * size + best_place, mask=exists)
