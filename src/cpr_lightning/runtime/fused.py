"""The network part as graphs compute it best: the same numbers, but for rounding, in fewer operations.

Views of the Inception block that nothing stands between are one convolution, and the projection takes each view for
itself where its own output is small: a concatenation of 256 channels costs more than adding up some narrow maps.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cpr_lightning.model.local_branch import ConvNorm, ScaleBranch
from cpr_lightning.model.network import NetworkPart

_NARROW = 64  # numbers a descriptor has at most for the projection to be divided
_PART = 64


def fused(network: NetworkPart) -> NetworkPart:
    """A copy for runtimes that make a graph of it; the backbone is shared."""
    backbone = network.features.backbone
    network = copy.deepcopy(network, {id(backbone): backbone})
    branch = network.features.branch
    if branch is not None:
        for name, each in list(branch.named_children()):
            if isinstance(each, ScaleBranch) and each.project.out_channels <= _NARROW:
                setattr(branch, name, FusedBranch(each))
    return network


class FusedBranch(nn.Module):
    """What a :class:`ScaleBranch` gives in evaluation mode.

    Args:
        branch: its parameters are shared.
    """

    def __init__(self, branch: ScaleBranch) -> None:
        super().__init__()
        block = branch.inception
        self.reduce, self.three_reduce, self.three, self.pool = (
            branch.reduce,
            block.three_reduce,
            block.three,
            block.pool,
        )
        self.both = _side_by_side(block.one, block.one_again)
        weights = branch.project.weight.detach().split(_PART, dim=1)
        self.bias = branch.project.bias
        self.from_both = torch.cat([weights[0], weights[2]], dim=1)
        self.from_three, self.from_pool = weights[1], weights[3]

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) → (B, D, H, W), not normalised."""
        reduced = self.reduce(features)
        pooled = F.avg_pool2d(self.pool.conv(reduced), kernel_size=3, stride=1, padding=1, count_include_pad=False)
        return (
            F.conv2d(self.both(reduced), self.from_both, self.bias)
            + F.conv2d(self.three(self.three_reduce(reduced)), self.from_three)
            + F.conv2d(F.relu(self.pool.bn(pooled)), self.from_pool)
        )


def _side_by_side(one: ConvNorm, other: ConvNorm) -> ConvNorm:
    """One layer that gives the channels of two on the same input."""
    outputs = one.conv.out_channels + other.conv.out_channels
    both = ConvNorm(one.conv.in_channels, outputs, kernel=one.conv.kernel_size[0], eps=one.bn.eps).eval()
    with torch.no_grad():
        both.conv.weight.copy_(torch.cat([one.conv.weight, other.conv.weight]))
        for name, value in both.bn.state_dict().items():
            if value.ndim:
                value.copy_(torch.cat([one.bn.state_dict()[name], other.bn.state_dict()[name]]))
    return both
