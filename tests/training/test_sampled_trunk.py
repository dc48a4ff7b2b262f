"""The trunk at points against the trunk, layer by layer, in autograd."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.model.local_branch import ScaleBranch
from cpr_lightning.training import sampled_trunk as module
from cpr_lightning.training.points import corners
from cpr_lightning.training.sampled_trunk import sampled_trunk


def branch_of(channels: int = 20) -> ScaleBranch:
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        branch = ScaleBranch(channels, 8)
    with torch.no_grad():
        for name, value in branch.named_parameters():
            if ".bn." in name:
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5 * name.endswith("weight"))
    return branch.train()


def raw_and_points(height: int, width: int, channels: int = 20) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    # Far from zero mean, as the features after a ReLU are.
    raw = torch.randn(5, channels, height, width, generator=generator).abs() + 3
    points = torch.rand(5, 60, 2, generator=generator) * 2 - 1
    points[:, 0], points[:, 1] = -1, 0.999  # at the border
    return raw, points


def plain(branch: ScaleBranch, raw: Tensor, points: Tensor) -> Tensor:
    sampled = F.grid_sample(branch.trunk(raw), points.unsqueeze(1), padding_mode="border", align_corners=False)
    return sampled.squeeze(2).transpose(1, 2)


def close(made: Tensor, expected: Tensor, tolerance: float) -> bool:
    return bool((made - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1e-6))


@pytest.mark.parametrize("tile", [1, 150, 100_000], ids=["one image", "the last tile is smaller", "all images"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_values_gradients_and_statistics_are_those_of_the_layers(
    tile: int, channels_last: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_TILE_CELLS", tile)
    one, other = branch_of(), branch_of()
    raw, points = raw_and_points(9, 8)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    expected = plain(one, raw, points)
    made = sampled_trunk(other, raw.contiguous(memory_format=layout), corners(points, 9, 8).inside())
    assert close(made, expected, 1e-5)
    wanted = torch.randn(made.shape, generator=torch.Generator().manual_seed(3))
    (made * wanted).sum().backward()
    (expected * wanted).sum().backward()
    compared = 0
    for (name, value), (_, reference) in zip(other.named_parameters(), one.named_parameters(), strict=True):
        if name.startswith("project"):
            assert value.grad is None
            continue
        assert value.grad is not None, name
        assert reference.grad is not None, name
        if name == "reduce.conv.bias":  # rounding, in the layers
            assert torch.equal(value.grad, torch.zeros_like(value))
            assert reference.grad.abs().max() < 1e-3
            continue
        assert reference.grad.abs().max() > 1e-2, name
        assert close(value.grad, reference.grad, 1e-4), name
        compared += 1
    assert compared == 18
    start = branch_of().state_dict()
    for name, value in other.state_dict().items():
        reference = one.state_dict()[name]
        assert close(value.float(), reference.float(), 1e-5), name
        if "running" in name:
            assert not torch.equal(value, start[name])


def test_it_is_the_same_again_to_the_last_bit():
    raw, points = raw_and_points(9, 8)
    outcomes = []
    for _ in range(2):
        branch = branch_of()
        made = sampled_trunk(branch, raw, corners(points, 9, 8).inside())
        made.square().sum().backward()
        outcomes.append([made] + [each.grad for each in branch.parameters() if each.grad is not None])
    assert all(torch.equal(first, second) for first, second in zip(*outcomes, strict=True))


def test_in_bfloat16_values_and_gradients_are_near_and_the_statistics_exact():
    raw, points = raw_and_points(12, 12)
    at = corners(points, 12, 12).inside()
    one, other = branch_of(), branch_of()
    expected = sampled_trunk(one, raw, at)
    with torch.autocast("cpu", torch.bfloat16):
        made = sampled_trunk(other, raw, at)
    assert made.dtype == torch.float32
    assert not torch.equal(made, expected)
    assert (made - expected).norm() < 0.02 * expected.norm()
    for result in (made, expected):
        result.square().sum().backward()
    for (name, value), reference in zip(other.named_parameters(), one.parameters(), strict=True):
        if value.grad is not None and name != "reduce.conv.bias":
            assert reference.grad is not None
            assert value.grad.dtype == torch.float32
            assert (value.grad - reference.grad).norm() < 0.1 * reference.grad.norm(), name
    torch.testing.assert_close(other.reduce.bn.running_mean, one.reduce.bn.running_mean)
    torch.testing.assert_close(other.inception.one.bn.running_var, one.inception.one.bn.running_var, rtol=0.02, atol=0)


def test_evaluation_after_training_steps_is_that_of_the_layers():
    one = branch_of()
    other = copy.deepcopy(one)
    raw, points = raw_and_points(9, 8)
    at = corners(points, 9, 8).inside()
    for _ in range(3):
        plain(one, raw, points)
        sampled_trunk(other, raw, at)
    with torch.no_grad():
        torch.testing.assert_close(other.eval().trunk(raw), one.eval().trunk(raw), rtol=1e-4, atol=1e-5)
