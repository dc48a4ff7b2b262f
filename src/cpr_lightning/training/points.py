"""Reading feature maps at points, and the gradient of that, as sums of rows: a cell's channels lie side by side."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Corners(NamedTuple):
    """Points as the four cells around each and their bilinear weights, 0 for cells outside the map."""

    cell: Tensor  # (B, N, 4) int64, row · width + column
    weight: Tensor  # (B, N, 4) float32

    def inside(self) -> "Corners":
        """The same with weights of sum 1, so that points near the border count in full."""
        return Corners(self.cell, self.weight / self.weight.sum(-1, keepdim=True))


def corners(points: Tensor, height: int, width: int) -> Corners:
    """Corners of points (B, N, 2), (x, y) in [−1, 1] over the map, as ``grid_sample`` takes them without
    ``align_corners``.
    """
    size = torch.tensor([width, height], dtype=points.dtype, device=points.device)
    place = (points + 1) * size / 2 - 0.5
    low = place.floor()
    both = torch.stack([low, low + 1], dim=-2)  # (B, N, 2, 2): of the four, the left and the right, the upper and lower
    weight = torch.stack([low + 1 - place, place - low], dim=-2) * ((both >= 0) & (both < size))
    both = both.clamp(min=0).minimum(size - 1).long()
    (column, row), (x, y) = both.unbind(-1), weight.unbind(-1)
    cell = row.unsqueeze(-1) * width + column.unsqueeze(-2)
    return Corners(cell.flatten(-2), (y.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2))


def read(maps: Tensor, at: Corners) -> Tensor:
    """Maps (B, C, H, W) at points: (B, N, C)."""
    count, channels, height, width = maps.shape
    rows = maps.movedim(1, -1).reshape(-1, channels)
    cells = at.cell + torch.arange(count, device=maps.device).view(-1, 1, 1) * (height * width)
    summed = F.embedding_bag(
        cells.flatten(0, 1), rows, mode="sum", per_sample_weights=at.weight.to(maps.dtype).flatten(0, 1)
    )
    return summed.view(count, -1, channels)


def spread(gradient: Tensor, at: Corners, like: Tensor) -> Tensor:
    """The gradient of :func:`read`: (B, N, C) → maps like ``like``."""
    count, channels, height, width = like.shape
    rows = gradient.new_zeros(count * height * width, channels)
    cells = at.cell + torch.arange(count, device=like.device).view(-1, 1, 1) * (height * width)
    shares = gradient.unsqueeze(2) * at.weight.unsqueeze(3)
    rows.scatter_add_(0, cells.view(-1, 1).expand(-1, channels), shares.view(-1, channels))
    return rows.view(count, height, width, channels).movedim(-1, 1).to(like.dtype)
