"""Gaussian blur of maps, as two matrix products."""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F


def gaussian_blur(maps: Tensor, sigma: float, reach: int) -> Tensor:
    """Separable Gaussian of ±``reach`` cells, mirrored at the border: (…, H, W) → (…, H, W).

    A blur is linear in the rows and in the columns of a map: a matrix from the left and one from the right, which at
    the sizes of anomaly maps are far faster than a filter of 33×33.
    """
    # A mirror cannot show more than there is.
    reach = min(reach, maps.shape[-2] - 1, maps.shape[-1] - 1)
    rows, columns = (_blurring(side, sigma, reach, maps.device).to(maps.dtype) for side in maps.shape[-2:])
    return rows @ maps @ columns.T


@lru_cache(maxsize=64)
def _blurring(side: int, sigma: float, reach: int, device: torch.device) -> Tensor:
    """(side, side) float32: what the blur does to one side."""
    with torch.inference_mode(False):  # it is kept, and may be used where gradients are
        offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
        kernel = torch.exp(-offsets.square() / (2 * sigma * sigma))
        unit = F.pad(torch.eye(side, dtype=torch.float64).unsqueeze(1), (reach, reach), mode="reflect")
        return F.conv1d(unit, (kernel / kernel.sum()).view(1, 1, -1)).squeeze(1).T.float().contiguous().to(device)
