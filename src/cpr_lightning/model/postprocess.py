"""From distances to anomaly map and image score (Algorithm 2, lines 6–10)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.model.blur import gaussian_blur, resized_blur
from cpr_lightning.model.top_pixels import top_sum

_GROUP = 16


def postprocess(
    distances: Sequence[Tensor], foreground: Tensor | None, size: Sequence[int], blur_sigma: float
) -> Tensor:
    """Distances of all scales → anomaly map.

    Args:
        distances: per scale (B, h, w), finest first.
        foreground: F*, (B, H, W) in [0, 1], or None.
        size: (H, W).
        blur_sigma: pixels; the kernel spans ±4σ (33×33 at σ = 4).

    Returns:
        (B, H, W).
    """
    reach = round(4 * blur_sigma)
    if foreground is None:
        return resized_blur(distances, size, blur_sigma, reach)
    anomaly_map = resized_blur(distances, size, 0.0, 0) * foreground
    return gaussian_blur(anomaly_map, blur_sigma, reach) if blur_sigma > 0 else anomaly_map


def image_score(anomaly_map: Tensor, top_pixels: int) -> Tensor:
    """Sum of the T largest pixels: (B, H, W) → (B,).

    No more than T groups of pixels hold one of the T largest, and they are those with the largest maxima: most pixels
    need not be ranked.
    """
    pixels = anomaly_map.flatten(1)
    count = min(top_pixels, pixels.shape[1])
    if pixels.device.type == "cpu":
        return top_sum(pixels.float(), count)
    groups = F.pad(pixels, (0, -pixels.shape[1] % _GROUP), value=-torch.inf).unflatten(1, (-1, _GROUP))
    if groups.shape[1] > count:
        best = groups.amax(2).topk(count, dim=1, sorted=False).indices
        groups = groups.gather(1, best.unsqueeze(2).expand(-1, -1, _GROUP))
    return groups.flatten(1).topk(count, dim=1, sorted=False).values.sum(1)


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, cell centres aligned by area (align_corners=False): (B, C, h, w) → (B, C, H, W)."""
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
