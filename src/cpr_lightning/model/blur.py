"""Gaussian blur of maps."""

import torch
from torch import Tensor
from torch.nn import functional as F


def gaussian_blur(maps: Tensor, sigma: float, reach: int) -> Tensor:
    """Separable Gaussian of ±``reach`` cells, mirrored at the border: (B, H, W) → (B, H, W)."""
    reach = min(reach, maps.shape[1] - 1, maps.shape[2] - 1)  # a mirror cannot show more than there is
    offsets = torch.arange(-reach, reach + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-offsets.square() / (2 * sigma * sigma))
    kernel = kernel / kernel.sum()
    padded = F.pad(maps.unsqueeze(1), (reach, reach, reach, reach), mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1)).squeeze(1)
