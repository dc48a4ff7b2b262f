"""The local branch: its names and sizes, and that its two shortcuts change nothing."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.model.local_branch import ConvNorm, Inception, LocalBranch, ScaleBranch


def settled(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """With random weights and running statistics, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name.endswith("running_var") or name.endswith("bn.weight"):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            elif value.is_floating_point():
                value.copy_(torch.randn(value.shape, generator=generator) * 0.2)
    return module.eval()


def features(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def plain_conv_norm(part: ConvNorm, given: Tensor, eps: float) -> Tensor:
    norm = part.bn
    assert norm.running_mean is not None
    assert norm.running_var is not None
    made = F.conv2d(given, part.conv.weight, part.conv.bias, padding=part.conv.weight.shape[-1] // 2)
    scale = norm.weight / (norm.running_var + eps).sqrt()
    return ((made - norm.running_mean.view(-1, 1, 1)) * scale.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)).clamp(min=0)


def plain_inception(block: Inception, given: Tensor) -> Tensor:
    """As the paper draws it: the pool first, then its convolution."""
    inside = F.conv2d(torch.ones_like(given[:, :1]), torch.ones(1, 1, 3, 3), padding=1)
    summed = F.conv2d(given, torch.ones(given.shape[1], 1, 3, 3), padding=1, groups=given.shape[1])
    parts = [
        plain_conv_norm(block.one, given, 1e-3),
        plain_conv_norm(block.three, plain_conv_norm(block.three_reduce, given, 1e-3), 1e-3),
        plain_conv_norm(block.one_again, given, 1e-3),
        plain_conv_norm(block.pool, summed / inside, 1e-3),
    ]
    return torch.cat(parts, dim=1)


def test_parameters_have_the_names_and_shapes_of_the_golden_files():
    shapes = {name: tuple(value.shape) for name, value in LocalBranch([64, 128], 384).state_dict().items()}
    convolutions = {
        "reduce.conv.bias": (192,),
        "inception.one.conv.weight": (64, 192, 1, 1),
        "inception.three_reduce.conv.weight": (48, 192, 1, 1),
        "inception.three.conv.weight": (64, 48, 3, 3),
        "inception.one_again.conv.weight": (64, 192, 1, 1),
        "inception.pool.conv.weight": (64, 192, 1, 1),
        "project.weight": (384, 256, 1, 1),
        "project.bias": (384,),
    }
    expected = {}
    for scale, channels in (("scale1", 64), ("scale2", 128)):
        expected |= {f"{scale}.{name}": shape for name, shape in convolutions.items()}
        expected[f"{scale}.reduce.conv.weight"] = (192, channels, 1, 1)
        sizes = {"reduce": 192, "inception.one": 64, "inception.three_reduce": 48, "inception.three": 64}
        for part, size in (sizes | {"inception.one_again": 64, "inception.pool": 64}).items():
            for value in ("weight", "bias", "running_mean", "running_var"):
                expected[f"{scale}.{part}.bn.{value}"] = (size,)
            expected[f"{scale}.{part}.bn.num_batches_tracked"] = ()
    assert shapes == expected


@pytest.mark.parametrize("category", ["grid", "hazelnut"])
def test_the_golden_branches_load_strictly(shared_data: Path, category: str):
    state = load_file(shared_data / "golden" / f"{category}_resnet18" / "local_branch.safetensors")
    branch = LocalBranch([64, 128], 384)
    branch.load_state_dict(state, strict=True)
    assert torch.equal(branch.state_dict()["scale2.project.weight"], state["scale2.project.weight"])


@pytest.mark.parametrize("dim", [384, 64, 16])
def test_descriptors_have_unit_length_and_the_asked_size(dim: int):
    branch = settled(LocalBranch([10, 6, 8], dim))
    given = [features(2, 10, 9, 8), features(2, 6, 5, 4), features(2, 8, 3, 2)]
    described = branch(given)
    assert [scale.shape for scale in described] == [(2, dim, 9, 8), (2, dim, 5, 4), (2, dim, 3, 2)]
    for scale in described:
        torch.testing.assert_close(scale.square().sum(1), torch.ones_like(scale[:, 0]))
        assert scale.std(dim=(2, 3)).max() > 1e-3  # not the same everywhere


def test_the_branch_is_its_parts_normalised():
    branch = settled(LocalBranch([10, 6], 20))
    assert isinstance(branch, LocalBranch)
    given = [features(2, 10, 9, 8), features(2, 6, 5, 4)]
    for scale, part, described in zip(given, branch.branches(), branch(given), strict=True):
        reduced = plain_conv_norm(part.reduce, scale, 1e-5)
        made = F.conv2d(plain_inception(part.inception, reduced), part.project.weight, part.project.bias)
        expected = made / made.square().sum(1, keepdim=True).sqrt()
        torch.testing.assert_close(described, expected, rtol=1e-4, atol=1e-5)


def test_scales_share_no_weights():
    branch = LocalBranch([8, 8], 16)
    first, second = branch.branches()
    assert not {id(value) for value in first.parameters()} & {id(value) for value in second.parameters()}
    assert not torch.equal(first.project.weight, second.project.weight)


@pytest.mark.parametrize("training", [False, True])
def test_pooling_after_the_convolution_is_pooling_before_it(training: bool):
    block = settled(Inception()).train(training)
    assert isinstance(block, Inception)
    given = features(2, 192, 7, 6)
    pooled = block.pool(F.avg_pool2d(given, 3, stride=1, padding=1, count_include_pad=False))
    torch.testing.assert_close(block(given)[:, -64:], pooled, rtol=1e-4, atol=1e-5)


def test_the_four_views_stand_in_the_golden_order():
    block = settled(Inception())
    assert isinstance(block, Inception)
    given = features(1, 192, 6, 7)
    torch.testing.assert_close(block(given), plain_inception(block, given), rtol=1e-4, atol=1e-5)


def test_projecting_sampled_points_is_sampling_the_projected_map():
    branch = settled(ScaleBranch(12, 24))
    assert isinstance(branch, ScaleBranch)
    trunk = branch.trunk(features(3, 12, 10, 9))
    points = features(3, 40, 2, seed=2) * 1.6 - 0.8  # well inside, where every point lies between four cells
    grid = points.unsqueeze(1)

    def sample(maps: Tensor) -> Tensor:
        return F.grid_sample(maps, grid, mode="bilinear", align_corners=False).squeeze(2)

    described = branch.describe(sample(trunk))
    assert described.shape == (3, 24, 40)
    torch.testing.assert_close(described, sample(branch.project(trunk)), rtol=1e-4, atol=1e-5)


def test_another_number_of_scales_is_refused():
    with pytest.raises(ValueError, match=re.escape("zip()")):
        LocalBranch([8, 8], 16).eval()([features(1, 8, 4, 4)])
