"""The local branch's trunk in training: what ``ScaleBranch.trunk`` gives at some points, and its gradient, sooner.

A step is bound by memory, not by arithmetic: batch norms make every layer wait for the whole batch, so that in autograd
each layer writes its maps to memory, forward and backward, and the next one reads them again. Here

- a layer's maps pass in tiles of a few images, which stay in the processor's cache from one operation to the next;
- the first layer's batch statistics follow from the covariance of its input, which is frozen and has no gradient, so
  that its convolution and batch norm are one convolution;
- the 1×1 convolutions on the same input are one convolution;
- normalised maps are never stored: they are made again from what stood before the batch norm.

The numbers are those of the layers one by one, but for rounding; tests compare both.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cpr_lightning.model.local_branch import ConvNorm, ScaleBranch
from cpr_lightning.training.collective import mean, processes
from cpr_lightning.training.points import Corners, read, spread
from cpr_lightning.training.tiled_norm import TiledNorm

_TILE_CELLS = 6400  # on a CPU; a tile's maps of 240 channels are then 6 MB
_PART = 64
_OUT, _POOL, _DEEP = slice(0, 192), slice(128, 192), slice(192, 240)


def sampled_trunk(branch: ScaleBranch, raw: Tensor, at: Corners) -> Tensor:
    """``branch.trunk(raw)`` at points, in training mode: running statistics move on, gradients reach the branch.

    Under autocast the convolutions run in its precision, the statistics in float32.

    Args:
        branch: whose trunk.
        raw: (B, C, H, W) frozen features; no gradient flows into them.
        at: N points per image.

    Returns:
        (B, N, 256), float32.
    """
    block = branch.inception
    views = [block.one, block.one_again, block.pool, block.three_reduce]
    device = raw.device.type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else raw.dtype
    with torch.autocast(device, enabled=False):
        centred, weight = _folded(branch.reduce, raw.detach())
        # The batch norm takes the convolution's bias out again: its gradient is 0.
        bias = branch.reduce.conv.bias
        shift = branch.reduce.bn.bias if bias is None else branch.reduce.bn.bias + 0 * bias
        outside, three, *statistics = _Trunk.apply(
            centred.to(precision),
            weight,
            shift,
            torch.cat([view.conv.weight for view in views]),
            torch.cat([view.bn.weight for view in views]),
            torch.cat([view.bn.bias for view in views]),
            block.three.conv.weight,
            block.three.bn.weight,
            block.three.bn.bias,
            at.cell,
            at.weight,
            block.three.bn.eps,
        )
    count = raw[:, 0].numel() * processes()
    parts = (each.split([_PART] * 3 + [48]) for each in statistics[:2])
    for view, centre, variance in zip(views, *parts, strict=True):
        _move_on(view.bn, centre, variance, count)
    _move_on(block.three.bn, statistics[2], statistics[3], count)
    return torch.cat([outside[..., :_PART], three, outside[..., _PART:]], dim=-1)


def _folded(layer: ConvNorm, raw: Tensor) -> tuple[Tensor, Tensor]:
    """Centred input, and the weight of the 1×1 convolution on it that is ``layer``'s without its shift and ReLU.

    With μ and C the mean and the covariance of the input, W·raw + b has the mean Wμ + b and the variances
    diag(W C Wᵀ). Autograd takes the weight's gradient through them. Both are those of the batch of all processes.
    """
    raw = raw.float()
    centre = mean(raw.mean((0, 2, 3)))
    centred = raw - centre.view(-1, 1, 1)
    rows = centred.movedim(1, -1).flatten(0, 2)
    covariance = mean(rows.T @ rows / len(rows))
    weight = layer.conv.weight.flatten(1)
    variance = ((weight @ covariance) * weight).sum(1)
    scale = layer.bn.weight * (variance + layer.bn.eps).rsqrt()
    bias = layer.conv.bias
    shifted = weight.detach() @ centre if bias is None else weight.detach() @ centre + bias.detach()
    _move_on(layer.bn, shifted, variance.detach(), len(rows) * processes())
    return centred, (weight * scale.unsqueeze(1)).unflatten(1, (-1, 1, 1))


def _move_on(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Running statistics as ``BatchNorm2d`` moves them: by its momentum, with the unbiased variance."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * (count / max(count - 1, 1)), norm.momentum)
    norm.num_batches_tracked.add_(1)


class _Trunk(torch.autograd.Function):
    """x → ReLU(A x + c) → [1×1 | 1×1 | pooled 1×1 | 1×1 → 3×3] → batch norm, ReLU → read at points."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *given: Any) -> tuple[Tensor, ...]:
        """See :func:`sampled_trunk`: both parts at points, and the statistics, which have no gradient."""
        *tensors, cell, near, eps = given
        low = [each.detach().to(x.dtype) if each.dim() == 4 else each for each in tensors]
        first, shift, second, gain, bias, third, third_gain, third_bias = low
        shift = shift.to(x.dtype)
        third = third.contiguous(memory_format=torch.channels_last)
        tiles = _tiles(x)
        norm, last = TiledNorm(gain, bias, eps), TiledNorm(third_gain, third_bias, eps)
        maps = x.new_empty((len(x), second.shape[0], *x.shape[2:])).to(memory_format=torch.channels_last)
        deep = x.new_empty((len(x), third.shape[0], *x.shape[2:])).to(memory_format=torch.channels_last)
        for tile in tiles:
            made = F.conv2d(F.conv2d(x[tile], first, shift).relu_(), second)
            made[:, _POOL] = F.avg_pool2d(made[:, _POOL], 3, stride=1, padding=1, count_include_pad=False)
            maps[tile] = made
            norm.see(made)
        norm.settle()
        outside = []
        for tile in tiles:
            made = F.conv2d(norm(maps[tile, _DEEP], _DEEP), third, padding=1)
            deep[tile] = made
            last.see(made)
            outside.append(read(norm(maps[tile, _OUT], _OUT), Corners(cell[tile], near[tile])))
        last.settle()
        inside = [read(last(deep[tile]), Corners(cell[tile], near[tile])) for tile in tiles]
        ctx.save_for_backward(x, maps, deep, first, shift, second, third, cell, near)
        ctx.norms = norm, last
        statistics = norm.mean, norm.variance, last.mean, last.variance
        ctx.mark_non_differentiable(*statistics)
        return torch.cat(outside).float(), torch.cat(inside).float(), *statistics

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of everything but the frozen input and the points."""
        x, maps, deep, first, shift, second, third, cell, near = ctx.saved_tensors
        norm, last = ctx.norms
        weights = first, shift, second, third
        tiles = _tiles(x)
        dmaps, ddeep = torch.empty_like(maps), torch.empty_like(deep)
        for tile in tiles:
            at = Corners(cell[tile], near[tile])
            part = maps[tile, _OUT]
            dmaps[tile, _OUT] = norm.before(spread(gradients[0][tile], at, part), norm(part, _OUT), part, _OUT)
            ddeep[tile] = last.before(spread(gradients[1][tile], at, deep[tile]), last(deep[tile]), deep[tile])
        dgain3, dbias3 = last.settle_gradients()
        dfirst, dshift, dsecond, dthird = (torch.zeros_like(each, dtype=torch.float32) for each in weights)
        for tile in tiles:
            normalised = norm(maps[tile, _DEEP], _DEEP)
            below, weight, _ = _convolution_gradients(last.through(ddeep[tile], deep[tile]), normalised, third)
            dmaps[tile, _DEEP] = norm.before(below, normalised, maps[tile, _DEEP], _DEEP)
            dthird += weight
        dgain2, dbias2 = norm.settle_gradients()
        # A mean over the cells inside, backwards: each cell's share goes to its neighbors and itself.
        inside = F.avg_pool2d(torch.ones_like(x[:1, :1]), 3, stride=1, padding=1)
        for tile in tiles:
            through = norm.through(dmaps[tile], maps[tile])
            through[:, _POOL] = F.avg_pool2d(through[:, _POOL] / inside, 3, stride=1, padding=1)
            reduced = F.conv2d(x[tile], first, shift).relu_()
            below, weight, _ = _convolution_gradients(through, reduced, second)
            dsecond += weight
            below = torch.ops.aten.threshold_backward(below, reduced, 0)
            _, weight, bias = _convolution_gradients(below, x[tile], first, of_input=False)
            dfirst += weight
            dshift += bias
        return None, dfirst, dshift, dsecond, dgain2, dbias2, dthird, dgain3, dbias3, None, None, None


def _tiles(x: Tensor) -> list[slice]:
    """A few images at a time on a CPU, whose caches are small; all at once elsewhere, where a launch costs more."""
    images = max(1, _TILE_CELLS // x[0, 0].numel()) if x.device.type == "cpu" else len(x)
    return [slice(start, start + images) for start in range(0, len(x), images)]


def _convolution_gradients(
    gradient: Tensor, given: Tensor, weight: Tensor, *, of_input: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Of a convolution that keeps the size: of its input, its weight, and (if not the input's) its bias."""
    reach = weight.shape[-1] // 2
    return torch.ops.aten.convolution_backward(
        gradient,
        given,
        weight,
        [len(weight)],
        [1, 1],
        [reach, reach],
        [1, 1],
        False,
        [0, 0],
        1,
        [of_input, True, not of_input],
    )
