"""Fewer operations, the same numbers."""

from typing import Any

import torch
from small_networks import assert_same, part_of, pictures
from torch import nn

from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.local_branch import LocalBranch, ScaleBranch
from cpr_lightning.model.network import NetworkPart
from cpr_lightning.runtime.fused import FusedBranch, fused


def unsettled(branch: nn.Module) -> None:
    """Batch norms that do something, as after a training."""
    generator = torch.Generator().manual_seed(3)
    for layer in branch.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for value in (layer.weight.data, layer.bias.data, layer.running_mean, layer.running_var):
                assert value is not None
                value.copy_(torch.rand(value.shape, generator=generator) + 0.2)


def test_a_branch_gives_the_same():
    branch = ScaleBranch(24, 16).eval()
    unsettled(branch)
    features = torch.randn(2, 24, 9, 7, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(FusedBranch(branch)(features), branch(features))


def test_a_branch_that_can_learn_makes_constants(small_backbone: Backbone):
    """A graph cannot hold what asks for a gradient, as the parameters of a run's branch do."""
    part = part_of(small_backbone)
    assert part.features.branch is not None
    part.features.branch.requires_grad_(True)
    example = pictures(1, 3)
    with torch.inference_mode(False), torch.no_grad():
        traced: Any = torch.jit.trace(fused(part), example)
    assert_same(part, traced, example, foreground=1e-5)


def test_the_network_part_gives_the_same_and_stays_as_it_is(small_backbone: Backbone):
    part = part_of(small_backbone)
    assert part.features.branch is not None
    unsettled(part.features.branch)
    made = fused(part)
    assert_same(part, made, pictures(2, 3), foreground=1e-5)
    kinds = [type(each) for each in made.features.branch.children()] if made.features.branch else []
    assert kinds == [FusedBranch, FusedBranch]
    assert [type(each) for each in part.features.branch.children()] == [ScaleBranch, ScaleBranch]
    assert made.features.backbone is small_backbone


def test_a_wide_projection_is_left_whole(small_backbone: Backbone):
    part: NetworkPart = part_of(small_backbone)
    part.features.branch = LocalBranch(small_backbone.channels, 128).eval()
    branch = fused(part).features.branch
    assert branch is not None
    assert [type(each) for each in branch.children()] == [ScaleBranch, ScaleBranch]
