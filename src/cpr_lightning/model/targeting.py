"""Targeting on a CPU, compiled by numba: the trimmed divergence of a query to many references in one pass over them.

It computes what :mod:`cpr_lightning.model.global_retrieval` says in torch, without the (Q, R, S²) numbers between the
steps, and from words to neighbors without thirty small operations, which take longer than the work in them. A bin that
the query's block lacks has weight 0: its row is never read.
"""

from typing import NamedTuple

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cpr_lightning.kernels import kept, torch_threads

ROW_BITS = 24  # of the number by which references are ranked: the last ones hold the row
_AT_ONCE = 256  # references: their sums and largest blocks stay in the first cache


class CountTerms(NamedTuple):
    """What a divergence takes from a bin that holds n of a block's N words; entry n of (N + 1,) float64 each."""

    constants: Tensor
    weights: Tensor
    last: float  # the weight of the last row of the references' terms


def target(
    codes: Tensor, blocks: int, counts: CountTerms, terms: Tensor, ignored_blocks: int, neighbors: int, excluded: Tensor
) -> Tensor:
    """Words to neighbors: block histograms, trimmed divergence to all references, the nearest of them.

    Args:
        codes: (B, H, W) int64, the words of the cells.
        blocks: S.
        counts: of the divergence and of blocks of this size.
        terms: (S², bins + 1, R) float64, of the references.
        ignored_blocks: τ.
        neighbors: K.
        excluded: (B,) int64, a reference that must not be chosen, or -1.

    Returns:
        (B, K) int64, nearest first; ties in the order of the references. Fewer than K where there are not as many.
    """
    references = terms.shape[2]
    available = references - int(bool((excluded >= 0).any()))
    found = torch.empty(len(codes), min(neighbors, available), dtype=torch.int64)
    with torch_threads(-(-references // _AT_ONCE)):
        _compiled_target(
            codes.detach().contiguous().numpy(),
            blocks,
            counts.constants.numpy(),
            counts.weights.numpy(),
            counts.last,
            terms.detach().contiguous().numpy(),
            ignored_blocks,
            excluded.numpy(),
            found.numpy(),
        )
    return found


def trimmed_scan(
    constant: Tensor, weights: Tensor, terms: Tensor, ignored_blocks: int, ranges: NDArray[np.int64] | None = None
) -> Tensor:
    """Sum of all but the ``ignored_blocks`` largest of ``constant − weights · terms``, block by block.

    Args:
        constant: (Q, S²) float64, of the queries.
        weights: (Q, S², T) float64, of the queries.
        terms: (S², T, R) float64, of the references.
        ignored_blocks: τ.
        ranges: (P, 2) first reference and the one behind the last, of those to look at; None: all.

    Returns:
        (Q, M) float64, range after range. Equal references have equal distances, to the last digit.
    """
    if ranges is None:
        first = np.arange(0, terms.shape[2], _AT_ONCE)
        ranges = np.stack([first, np.minimum(first + _AT_ONCE, terms.shape[2])], axis=1)
    counts = ranges[:, 1] - ranges[:, 0]
    distances = torch.empty(len(constant), int(counts.sum()), dtype=torch.float64)
    with torch_threads(max(1, len(ranges))):
        _compiled_scan(
            constant.detach().contiguous().numpy(),
            weights.detach().contiguous().numpy(),
            terms.detach().contiguous().numpy(),
            ignored_blocks,
            ranges,
            np.cumsum(counts) - counts,
            distances.numpy(),
        )
    return distances


# No fast mathematics: a sum must not depend on where in a range a reference stands.
@numba.njit(nogil=True, error_model="numpy")
def _scan_few(constant, weights, terms, ignored, first, kept):
    """References from ``first`` on, as many as ``kept`` (at most _AT_ONCE) has room for: their trimmed sums."""
    count = len(kept)
    divergence = np.empty(count)
    largest = np.full((max(ignored, 1), count), -np.inf)
    kept[:] = 0
    for block in range(terms.shape[0]):
        divergence[:] = constant[block]
        for row in range(terms.shape[1]):
            weight = weights[block, row]
            if weight != 0:
                term = terms[block, row, first : first + count]
                for at in range(count):
                    divergence[at] -= weight * term[at]
        # A step of an insertion sort: the larger one stays, what falls out below the largest counts.
        for rank in range(ignored):
            held = largest[rank]
            for at in range(count):
                one, other = held[at], divergence[at]
                held[at] = one if one > other else other
                divergence[at] = other if one > other else one
        if block >= ignored:
            for at in range(count):
                kept[at] += divergence[at]


def _scan(constant, weights, terms, ignored, ranges, offsets, distances):
    for part in numba.prange(len(ranges)):
        start, stop = ranges[part]
        for first in range(start, stop, _AT_ONCE):
            to, count = offsets[part] + first - start, min(_AT_ONCE, stop - first)
            for query in range(len(constant)):
                _scan_few(constant[query], weights[query], terms, ignored, first, distances[query, to : to + count])


@numba.njit(nogil=True, error_model="numpy")
def _count_words(words, blocks, bins):
    """(H, W) → how often each of ``bins`` stands in each of S × S blocks; the padding before the words is bin 0."""
    height, width = words.shape
    above, before = -height % blocks, -width % blocks
    tall, wide = (height + above) // blocks, (width + before) // blocks
    counts = np.zeros((blocks * blocks, bins), np.int64)
    counts[:, 0] = tall * wide
    for row in range(height):
        first = (row + above) // tall * blocks
        for column in range(width):
            block = first + (column + before) // wide
            counts[block, words[row, column] + 1] += 1
            counts[block, 0] -= 1
    return counts


def _target(codes, blocks, bin_constants, bin_weights, last, terms, ignored, excluded, found):
    references = terms.shape[2]
    distances = np.empty(references)
    for image in range(len(codes)):
        counts = _count_words(codes[image], blocks, terms.shape[1] - 1)
        constant = np.zeros(len(counts))
        weights = np.full((len(counts), terms.shape[1]), last)
        for block in range(len(counts)):
            for word in range(counts.shape[1]):
                constant[block] += bin_constants[counts[block, word]]
                weights[block, word] = bin_weights[counts[block, word]]
        for part in numba.prange((references + _AT_ONCE - 1) // _AT_ONCE):
            first = part * _AT_ONCE
            _scan_few(constant, weights, terms, ignored, first, distances[first : min(first + _AT_ONCE, references)])
        for reference in range(references):
            distances[reference] = max(distances[reference], 0.0) + 1
        keys = distances.view(np.int64)
        best = np.full(found.shape[1], np.iinfo(np.int64).max)
        for reference in range(references):
            key = keys[reference] >> ROW_BITS << ROW_BITS | reference
            if len(best) > 0 and key < best[-1] and reference != excluded[image]:
                rank = len(best) - 1
                while rank > 0 and best[rank - 1] > key:
                    best[rank] = best[rank - 1]
                    rank -= 1
                best[rank] = key
        for rank in range(len(best)):
            found[image, rank] = best[rank] & ((1 << ROW_BITS) - 1)


_compiled_scan, _compiled_target = kept(_scan), kept(_target)
