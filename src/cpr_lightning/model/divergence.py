"""How far the histograms of blocks are apart, written as a constant less a product of matrices."""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.choices import Divergence
from cpr_lightning.model.targeting import CountTerms

_EPSILON = 1e-8  # added to every bin, as in the released code


def query_terms(histograms: Tensor, divergence: Divergence) -> tuple[Tensor, Tensor]:
    """What a divergence takes from the queries: (Q, S², bins) → constants (Q, S²), weights (Q, S², bins + 1), float64.

    The divergence is ``constant − weights · terms``, with :func:`reference_terms`. A bin that is empty in the query has
    weight 0; what its 1e-8 contributes is in the last term, so that a scan may leave the bin out and be exact.
    """
    q = histograms.double()
    if divergence is Divergence.l2:
        return q.square().sum(2), F.pad(2 * q, (0, 1), value=1)
    if divergence is Divergence.official:
        smooth = q + _EPSILON
        return (smooth * smooth.log()).sum(2), F.pad(q, (0, 1), value=_EPSILON)
    return torch.zeros_like(q[..., 0]), F.pad((q + _EPSILON).log() - math.log(_EPSILON), (0, 1), value=1)


@lru_cache(maxsize=16)
def count_terms(cells: int, divergence: Divergence) -> CountTerms:
    """:func:`query_terms` of every number of words that a block of ``cells`` can hold, 0 to ``cells``."""
    with torch.inference_mode(False):
        shares = torch.arange(cells + 1) / cells
        constants, weights = query_terms(shares.view(-1, 1, 1), divergence)
        return CountTerms(constants.flatten(), weights[:, 0, 0].contiguous(), weights[0, 0, 1].item())


def reference_terms(histograms: Tensor, divergence: Divergence) -> Tensor:
    """What a divergence takes from the references: (R, S², bins) → (S², bins + 1, R) float64.

    Double precision, because near neighbors are a small difference of large sums. References come last: the next one is
    the next number in memory.
    """
    r = histograms.permute(1, 2, 0).double()
    if divergence is Divergence.l2:
        return torch.cat([r, -r.square().sum(1, keepdim=True)], dim=1)
    r = r + _EPSILON
    if divergence is Divergence.official:
        logs = r.log()
        return torch.cat([logs, logs.sum(1, keepdim=True)], dim=1)
    last = math.log(_EPSILON) * r.sum(1, keepdim=True) - (r * r.log()).sum(1, keepdim=True)
    return torch.cat([r, last], dim=1)


def block_divergence(constant: Tensor, weights: Tensor, terms: Tensor) -> Tensor:
    """Divergence of each block, (Q, R, S²) float64: one matrix product per block.

    ``official`` is KL(query‖reference) = Σ q log q − Σ q log r, ``paper`` is KL(reference‖query), ``l2`` is the squared
    Euclidean distance ‖q‖² − 2 q·r + ‖r‖².

    Args:
        constant: (Q, S²) and ``weights`` (Q, S², bins + 1): :func:`query_terms`.
        weights: see there.
        terms: (S², bins + 1, R): :func:`reference_terms` of the same divergence.
    """
    return (constant.T.unsqueeze(2) - weights.transpose(0, 1) @ terms).permute(1, 2, 0)


def trimmed_distance(divergence: Tensor, ignored_blocks: int) -> Tensor:
    """Sum over all but the ``ignored_blocks`` (τ) largest blocks: (…, S²) → (…).

    The paper takes the mean; the ranking is the same.
    """
    kept = divergence.shape[-1] - ignored_blocks
    return divergence.sort(dim=-1).values[..., :kept].sum(-1)
