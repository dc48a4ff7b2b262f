"""What the local branch minimises (eq. 11–12), scale by scale."""

import torch
from torch import Tensor

from cpr_lightning.choices import Reading, RemoteWeight
from cpr_lightning.training.collective import total


def remote_weight(query: Tensor, reference: Tensor, valid: Tensor, kind: RemoteWeight) -> Tensor:
    """Weights of remote pairs from raw features (eq. 11): the less alike two places look, the more a pair counts.

    ``official`` takes the squared distance, ``paper`` the distance, over its mean over the image's valid pairs.

    Args:
        query: (B, C, N) raw features at the query points; no gradient flows into them.
        reference: (B, C, N), likewise.
        valid: (B, N) bool.
        kind: whose weight.

    Returns:
        (B, N), 0 where not valid; the valid ones of an image have mean 1.
    """
    if kind is RemoteWeight.none:
        return valid.float()
    distance = (query.detach() - reference.detach()).square().sum(1)
    if kind is RemoteWeight.paper:
        distance = distance.sqrt()
    distance = distance * valid
    mean = distance.sum(1, keepdim=True) / valid.sum(1, keepdim=True).clamp(min=1)
    # Where all valid pairs look exactly alike there is nothing to weight by.
    return torch.where(mean > 0, distance / mean.clamp(min=1e-12), valid.float())


def margin_loss(
    cosine: Tensor, weight: Tensor, margin: float, sign: int, power: int, reading: Reading = Reading.official
) -> Tensor:
    """Sum over pairs of one sort of the margin's violation (eq. 12).

    Args:
        cosine: (B, N) similarity.
        weight: (B, N) ω, 0 for pairs that count nothing.
        margin: m⁺ or m⁻.
        sign: +1 where the cosine should exceed the margin, −1 where it should stay below.
        power: p.
        reading: official puts the weight inside the power, paper outside.

    Returns:
        ().
    """
    violation = (sign * (margin - cosine)).clamp(min=0)
    if reading is Reading.official:
        return (violation * weight).pow(power).sum()
    return (violation.pow(power) * weight).sum()


def pair_loss(
    positive: Tensor,
    positive_weight: Tensor,
    negative: Tensor,
    negative_weight: Tensor,
    *,
    positive_margin: float = 0.8,
    negative_margin: float = -0.2,
    power: int = 3,
    reading: Reading = Reading.official,
) -> tuple[Tensor, Tensor]:
    """The two terms of eq. 12 for one scale, to be added.

    Args:
        positive: (B, N) cosine similarity of same pairs.
        positive_weight: (B, N), 0 for missing pairs.
        negative: (B, M) of remote and defect pairs.
        negative_weight: (B, M), 0 for missing pairs.
        positive_margin: m⁺.
        negative_margin: m⁻.
        power: p.
        reading: official divides each term by the number of its own pairs, paper both by the number of all (Γ).

    Returns:
        The positive and the negative term, (). Where several processes share the batch: this one's part of them, its
        sums over the number of the pairs of all.
    """
    gained = margin_loss(positive, positive_weight, positive_margin, 1, power, reading)
    lost = margin_loss(negative, negative_weight, negative_margin, -1, power, reading)
    positives, negatives = total(torch.stack([(positive_weight > 0).sum(), (negative_weight > 0).sum()]))
    if reading is Reading.paper:
        positives = negatives = positives + negatives
    return gained / positives.clamp(min=1), lost / negatives.clamp(min=1)
