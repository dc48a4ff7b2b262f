"""Gaussian blur of maps, alone or after resizes, as a linear map of the rows and one of the columns.

Resize and blur are linear in the rows and in the columns of a map; one after the other they are one linear map.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.model.banded import Band, apply, band


def gaussian_blur(maps: Tensor, sigma: float, reach: int) -> Tensor:
    """Separable Gaussian of ±``reach`` cells, mirrored at the border: (B, H, W) → (B, H, W), float32."""
    # A mirror cannot show more than there is.
    reach = min(reach, maps.shape[-2] - 1, maps.shape[-1] - 1)
    rows, columns = (_band((side,), sigma, reach, maps.device) for side in maps.shape[-2:])
    return apply(rows, maps.float(), columns)


def resized_blur(scales: Sequence[Tensor], size: Sequence[int], sigma: float, reach: int) -> Tensor:
    """:func:`gaussian_blur` of the sum of maps, each resized bilinearly to the first one's size and that to ``size``.

    Args:
        scales: (B, h, w) each.
        size: (H, W).
        sigma: pixels; 0: no blur.
        reach: pixels.

    Returns:
        (B, H, W) float32.
    """
    reach = min(reach, *(side - 1 for side in size))
    summed = scales[0].float()
    device, sides = summed.device, summed.shape[-2:]
    for scale in scales[1:]:
        rows, columns = (_band(each, 0.0, 0, device) for each in zip(scale.shape[-2:], sides, strict=True))
        summed = summed + apply(rows, scale.float(), columns)
    rows, columns = (_band(each, sigma, reach, device) for each in zip(sides, size, strict=True))
    return apply(rows, summed, columns)


@lru_cache(maxsize=64)
def _band(sides: tuple[int, ...], sigma: float, reach: int, device: torch.device) -> Band:
    """One side resized, (before, after), if there are two, and blurred."""
    with torch.inference_mode(False):  # it is kept, and may be used where gradients are
        matrix = torch.eye(sides[0], dtype=torch.float64)
        if sides[0] != sides[-1]:
            unit = matrix.unsqueeze(1)
            matrix = F.interpolate(unit, size=sides[-1], mode="linear", align_corners=False).squeeze(1).T
        return band(_blurring(sides[-1], sigma, reach) @ matrix if sigma > 0 else matrix, device)


def _blurring(side: int, sigma: float, reach: int) -> Tensor:
    """(side, side) float64: what the blur does to one side."""
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = torch.exp(-offsets.square() / (2 * sigma * sigma))
    unit = F.pad(torch.eye(side, dtype=torch.float64).unsqueeze(1), (reach, reach), mode="reflect")
    return F.conv1d(unit, (kernel / kernel.sum()).view(1, 1, -1)).squeeze(1).T
