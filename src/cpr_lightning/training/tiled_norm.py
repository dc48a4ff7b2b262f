"""A batch norm in training, forward and backward, over maps of which only a tile is at hand at a time.

The batch may lie in several processes: statistics, and gradients through them, are those of all of it.
"""

import torch
from torch import Tensor

from cpr_lightning.training.collective import mean, processes, total


class TiledNorm:
    """A batch norm with the statistics of the batch, whose maps pass in tiles."""

    def __init__(self, gain: Tensor, bias: Tensor, eps: float) -> None:
        self.gain, self.bias, self.eps = gain.detach(), bias.detach(), eps
        self._count = 0
        self._origin: Tensor | None = None
        self._sums: list[Tensor] = []
        self._gradients: dict[int, list[Tensor]] = {}

    def see(self, tile: Tensor) -> None:
        """Take a tile of the maps into the statistics."""
        tile = tile.float()
        if self._origin is None:
            self._origin = tile.mean((0, 2, 3))
        # About a mean, so that nothing cancels; ``var_mean`` takes ten times as long.
        apart = tile - self._origin.view(-1, 1, 1)
        self._sums.append(torch.stack([apart.sum((0, 2, 3)), apart.square_().sum((0, 2, 3))]))
        self._count += tile[:, 0].numel()

    def settle(self) -> None:
        """All tiles were seen: x̂ = (x − mean) · invstd; y = scale · x + shift."""
        assert self._origin is not None
        first, second = torch.stack(self._sums).sum(0) / self._count
        own, variance = self._origin + first, second - first.square()
        self.mean = mean(own)
        self.variance = variance if processes() == 1 else mean(variance + (own - self.mean).square())
        self._count *= processes()
        self.invstd = (self.variance + self.eps).rsqrt()
        self.scale = self.gain * self.invstd
        self.shift = self.bias - self.mean * self.scale

    def __call__(self, tile: Tensor, channels: slice = slice(None)) -> Tensor:
        """Normalise a tile of some channels, and ReLU."""
        scale, shift = self.scale[channels].view(-1, 1, 1), self.shift[channels].view(-1, 1, 1)
        return torch.addcmul(shift, tile, scale).relu_().to(tile.dtype)

    def before(self, gradient: Tensor, normalised: Tensor, tile: Tensor, channels: slice = slice(None)) -> Tensor:
        """Take a tile of the output's gradient into the sums; return it before the ReLU."""
        gradient = torch.ops.aten.threshold_backward(gradient, normalised, 0)
        wide = gradient.float()
        total, along = wide.sum((0, 2, 3)), (wide * tile).sum((0, 2, 3))
        sums = torch.stack([total, (along - self.mean[channels] * total) * self.invstd[channels]])
        self._gradients.setdefault(channels.start or 0, []).append(sums)
        return gradient

    def settle_gradients(self) -> tuple[Tensor, Tensor]:
        """All tiles were seen: the gradients of gain and bias, from this process's part of the batch."""
        parts = [torch.stack(tiles).sum(0) for _, tiles in sorted(self._gradients.items())]
        own = torch.cat(parts, dim=1)
        summed, along = total(own)
        self.slope = -self.scale * self.invstd * along / self._count
        self.offset = -self.scale * summed / self._count - self.slope * self.mean
        return own[1], own[0]

    def through(self, gradient: Tensor, tile: Tensor) -> Tensor:
        """The gradient of a tile of the maps, of all cells, through the statistics too."""
        scale, slope, offset = (each.view(-1, 1, 1) for each in (self.scale, self.slope, self.offset))
        return torch.addcmul(torch.addcmul(offset, tile, slope), gradient, scale).to(tile.dtype)
