"""Gaussian blur of maps, alone or after a resize, as two matrix products.

Resize and blur are linear in the rows and in the columns of a map: a matrix from the left and one from the right, which
at the sizes of anomaly maps are far faster than a filter of 33×33. A resize and a blur in a row are one matrix.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F


def gaussian_blur(maps: Tensor, sigma: float, reach: int) -> Tensor:
    """Separable Gaussian of ±``reach`` cells, mirrored at the border: (…, H, W) → (…, H, W)."""
    # A mirror cannot show more than there is.
    reach = min(reach, maps.shape[-2] - 1, maps.shape[-1] - 1)
    rows, columns = (_blurring(side, sigma, reach, maps.device).to(maps.dtype) for side in maps.shape[-2:])
    return rows @ maps @ columns.T


def resized_blur(maps: Tensor, size: Sequence[int], sigma: float, reach: int) -> Tensor:
    """:func:`gaussian_blur` of maps resized bilinearly: (…, h, w) → (…, H, W)."""
    reach = min(reach, *(side - 1 for side in size))
    rows, columns = (
        _resized_blurring(before, after, sigma, reach, maps.device).to(maps.dtype)
        for before, after in zip(maps.shape[-2:], size, strict=True)
    )
    return rows @ maps @ columns.T


@lru_cache(maxsize=64)
def _blurring(side: int, sigma: float, reach: int, device: torch.device) -> Tensor:
    """(side, side) float32: what the blur does to one side."""
    with torch.inference_mode(False):  # it is kept, and may be used where gradients are
        offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
        kernel = torch.exp(-offsets.square() / (2 * sigma * sigma))
        unit = F.pad(torch.eye(side, dtype=torch.float64).unsqueeze(1), (reach, reach), mode="reflect")
        return F.conv1d(unit, (kernel / kernel.sum()).view(1, 1, -1)).squeeze(1).T.float().contiguous().to(device)


@lru_cache(maxsize=64)
def _resized_blurring(before: int, after: int, sigma: float, reach: int, device: torch.device) -> Tensor:
    """(after, before) float32: what a bilinear resize and then the blur do to one side."""
    with torch.inference_mode(False):
        unit = torch.eye(before).unsqueeze(1)
        resized = F.interpolate(unit, size=after, mode="linear", align_corners=False).squeeze(1).T
        return (_blurring(after, sigma, reach, torch.device("cpu")) @ resized).contiguous().to(device)
