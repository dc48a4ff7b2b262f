"""The loss against the golden numbers and the paper's formulas by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.choices import Reading, RemoteWeight
from cpr_lightning.training.losses import margin_loss, pair_loss, remote_weight
from cpr_lightning.training.points import corners, read

Golden = Callable[[str], dict[str, Tensor]]


def at_points(maps: Tensor, points: Tensor) -> Tensor:
    """(B, C, h, w) at (B, N, 2), as training reads them: (B, C, N)."""
    return read(maps, corners(points, *maps.shape[2:])).transpose(1, 2)


def golden_cosine(numbers: dict[str, Tensor], sign: str) -> Tensor:
    return F.cosine_similarity(
        at_points(numbers["query_features"], numbers[f"{sign}_query_points"]),
        at_points(numbers["reference_features"], numbers[f"{sign}_reference_points"]),
        dim=1,
    )


@pytest.mark.parametrize("power", [1, 2, 3])
def test_golden_terms(golden: Golden, power: int):
    numbers = golden("loss")
    positive, negative = pair_loss(
        golden_cosine(numbers, "positive"),
        numbers["positive_weight"],
        golden_cosine(numbers, "negative"),
        numbers["negative_weight"],
        power=power,
    )
    torch.testing.assert_close(positive, numbers[f"positive_loss_p{power}"], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(negative, numbers[f"negative_loss_p{power}"], rtol=1e-5, atol=1e-7)


def test_golden_remote_weights(golden: Golden):
    numbers = golden("loss")
    weight = remote_weight(
        at_points(numbers["query_raw"], numbers["negative_query_points"]),
        at_points(numbers["reference_raw"], numbers["negative_reference_points"]),
        numbers["remote_valid"].bool(),
        RemoteWeight.official,
    )
    torch.testing.assert_close(weight, numbers["remote_weight"], rtol=1e-5, atol=1e-6)


def raw_pairs(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    query, reference = torch.randn(3, 6, 9, generator=generator), torch.randn(3, 6, 9, generator=generator)
    return query, reference, torch.rand(3, 9, generator=generator) < 0.7


@pytest.mark.parametrize("kind", [RemoteWeight.official, RemoteWeight.paper])
def test_remote_weights_are_distances_over_their_mean_image_by_image(kind: RemoteWeight):
    query, reference, valid = raw_pairs()
    weight = remote_weight(query, reference, valid, kind)
    for image in range(3):
        distance = np.linalg.norm(query[image].double().numpy() - reference[image].double().numpy(), axis=0)
        if kind is RemoteWeight.official:
            distance = distance**2
        counted = valid[image].numpy()
        expected = np.where(counted, distance / distance[counted].mean(), 0)
        np.testing.assert_allclose(weight[image].numpy(), expected, rtol=1e-5)


def test_without_weighting_all_valid_remote_pairs_count_alike():
    query, reference, valid = raw_pairs()
    assert torch.equal(remote_weight(query, reference, valid, RemoteWeight.none), valid.float())


@pytest.mark.parametrize("kind", list(RemoteWeight))
def test_no_gradient_flows_through_remote_weights(kind: RemoteWeight):
    query, reference, valid = raw_pairs()
    assert not remote_weight(query.requires_grad_(), reference.requires_grad_(), valid, kind).requires_grad


@pytest.mark.parametrize("kind", [RemoteWeight.official, RemoteWeight.paper])
def test_images_without_remote_pairs_or_of_one_colour_have_finite_weights(kind: RemoteWeight):
    query, reference, valid = raw_pairs()
    valid[0] = False
    reference[1] = query[1]
    weight = remote_weight(query, reference, valid, kind)
    assert torch.equal(weight[0], torch.zeros(9))
    assert torch.equal(weight[1], valid[1].float())
    assert weight[2].sum() / valid[2].sum() == pytest.approx(1, rel=1e-5)


def cosines(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Positive and negative similarities with their weights; some pairs are missing, some weights are not 1."""
    generator = torch.Generator().manual_seed(seed)
    positive, negative = (torch.rand(2, count, generator=generator) * 2 - 1 for count in (7, 11))
    positive_weight = (torch.rand(2, 7, generator=generator) < 0.6).float()
    negative_weight = (torch.rand(2, 11, generator=generator) < 0.6) * (torch.rand(2, 11, generator=generator) + 0.1)
    return positive, positive_weight, negative, negative_weight


@pytest.mark.parametrize("power", [1, 2, 3])
@pytest.mark.parametrize("reading", list(Reading))
def test_terms_are_those_of_a_loop_over_pairs(reading: Reading, power: int):
    positive, positive_weight, negative, negative_weight = cosines()
    sums, counts = [0.0, 0.0], [0, 0]
    groups = [(positive, positive_weight, 0.7, 1), (negative, negative_weight, -0.1, -1)]
    for number, (cosine, weight, margin, sign) in enumerate(groups):
        for each, omega in zip(cosine.flatten().tolist(), weight.flatten().tolist(), strict=True):
            if omega == 0:
                continue
            violation = max(0.0, sign * (margin - each))
            sums[number] += (violation * omega) ** power if reading is Reading.official else violation**power * omega
            counts[number] += 1
    if reading is Reading.paper:
        counts = [sum(counts)] * 2
    terms = pair_loss(
        positive,
        positive_weight,
        negative,
        negative_weight,
        positive_margin=0.7,
        negative_margin=-0.1,
        power=power,
        reading=reading,
    )
    for term, total, count in zip(terms, sums, counts, strict=True):
        assert total > 0
        assert term.item() == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("reading", list(Reading))
def test_missing_pairs_count_nothing_whatever_their_similarity(reading: Reading):
    positive, positive_weight, negative, negative_weight = cosines(1)
    before = pair_loss(positive, positive_weight, negative, negative_weight, reading=reading)
    positive = torch.where(positive_weight > 0, positive, -torch.ones(()))
    negative = torch.where(negative_weight > 0, negative, torch.ones(()))
    more = torch.ones(2, 5)
    after = pair_loss(
        torch.cat([positive, -more], 1),
        torch.cat([positive_weight, 0 * more], 1),
        torch.cat([negative, more], 1),
        torch.cat([negative_weight, 0 * more], 1),
        reading=reading,
    )
    for one, other in zip(before, after, strict=True):
        assert one > 0
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("reading", list(Reading))
def test_no_pair_at_all_is_a_loss_of_zero_with_a_gradient(reading: Reading):
    cosine = torch.zeros(2, 4, requires_grad=True)
    nothing = torch.zeros(2, 4)
    positive, negative = pair_loss(cosine, nothing, cosine, nothing, reading=reading)
    (positive + negative).backward()
    assert (positive + negative).item() == 0
    assert cosine.grad is not None
    assert torch.equal(cosine.grad, nothing)


def test_pairs_beyond_their_margins_cost_nothing():
    weight = torch.ones(1, 3)
    positive, negative = pair_loss(torch.tensor([[0.8, 0.9, 1.0]]), weight, torch.tensor([[-0.2, -0.5, -1.0]]), weight)
    assert positive.item() == 0
    assert negative.item() == 0


def test_the_two_readings_place_the_weight_inside_and_outside_the_power():
    cosine, weight = torch.tensor([[0.3]]), torch.tensor([[2.0]])
    assert margin_loss(cosine, weight, 0.8, 1, 3, Reading.official).item() == pytest.approx((0.5 * 2) ** 3)
    assert margin_loss(cosine, weight, 0.8, 1, 3, Reading.paper).item() == pytest.approx(0.5**3 * 2)
