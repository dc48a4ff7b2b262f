"""The trimmed divergence of a query to many references on a CPU: one pass over them, compiled by numba.

It computes what ``trimmed_distance`` of ``block_divergence`` computes (:mod:`cpr_lightning.model.global_retrieval`),
without the (Q, R, S²) numbers between them. A bin that the query's block lacks has weight 0: its row is never read.
"""

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cpr_lightning.kernels import kept, torch_threads

_AT_ONCE = 256  # references: their sums and largest blocks stay in the first cache


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


def _scan(constant, weights, terms, ignored, ranges, offsets, distances):
    blocks, rows, _ = terms.shape
    for part in numba.prange(len(ranges)):
        divergences = np.empty(_AT_ONCE)
        largest = np.empty((max(ignored, 1), _AT_ONCE))
        start, stop = ranges[part]
        for first in range(start, stop, _AT_ONCE):
            count = min(_AT_ONCE, stop - first)
            divergence = divergences[:count]
            to = offsets[part] + first - start
            for query in range(len(constant)):
                kept = distances[query, to : to + count]
                kept[:] = 0
                largest[:] = -np.inf
                for block in range(blocks):
                    divergence[:] = constant[query, block]
                    for row in range(rows):
                        weight = weights[query, block, row]
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


# No fast mathematics: a sum must not depend on where in a range a reference stands.
_compiled_scan = kept(_scan)
