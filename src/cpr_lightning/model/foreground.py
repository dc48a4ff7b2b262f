"""The foreground branch: which cells show the product (Section III-C). Learned without any label.

The frame of an image is mostly background and its centre mostly product. K-means finds the background's word; a linear
discriminant between centre cells without it and frame cells with it becomes a 1×1 convolution on raw features.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cpr_lightning.errors import DataError
from cpr_lightning.model.blur import gaussian_blur
from cpr_lightning.settings import ForegroundSettings

_TRIM = (0.01, 0.99)  # quantiles of all references' decision values that become 0 and 1
_SHRINK = 1e-4  # ridge on the covariance, relative to its mean variance: raw ReLU features may hold dead channels


class Foreground(nn.Module):
    """Foreground map of an image: a linear function of each cell's raw feature, clamped to [0, 1].

    Args:
        weight: (C,).
        bias: ().
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) first-scale raw features → (B, H, W) in [0, 1], 1 = product."""
        decision = F.conv2d(features, self.weight.view(1, -1, 1, 1), self.bias.view(1)).squeeze(1)
        return decision.clamp(0, 1)


def regions(height: int, width: int, settings: ForegroundSettings) -> tuple[np.ndarray, np.ndarray]:
    """Masks (H, W) of the frame and of the centre of a feature map."""
    frame = np.ones((height, width), dtype=bool)
    top, left = max(1, round(settings.border * height)), max(1, round(settings.border * width))
    frame[top : height - top, left : width - left] = False
    centre = np.zeros((height, width), dtype=bool)
    y, x = round((1 - settings.centre) / 2 * height), round((1 - settings.centre) / 2 * width)
    centre[y : height - y, x : width - x] = True
    return frame, centre


def fit_foreground(
    features: np.ndarray, codes: np.ndarray, settings: ForegroundSettings, rng: np.random.Generator
) -> Foreground:
    """Learn the foreground of a category.

    Args:
        features: (N, C, H, W) float32 raw features of good images (may be memory-mapped).
        codes: (N, H, W) words of every cell, of the codebook that ``settings.method`` asks for.
        settings: sizes of the regions and of the sample.
        rng: draws the sample.

    Raises:
        DataError: no cell of the centre differs from the background, so there is nothing to tell apart.
    """
    frame, centre = regions(features.shape[2], features.shape[3], settings)
    background = np.bincount(codes[:, frame].ravel()).argmax()
    negative = _sample(features, (codes == background) & frame, settings.vectors, rng)
    positive = _sample(features, (codes != background) & centre, settings.vectors, rng)
    if len(positive) == 0:
        raise DataError(
            "The foreground cannot be learned: in every image the centre looks like the frame. Is this a texture? "
            "Then say dataset.kind=texture; or switch the branch off with foreground.enabled=false."
        )
    weight, bias = linear_discriminant(negative, positive)
    # Image by image: the features of all references may be larger than the memory.
    decisions = [np.einsum("chw,c->hw", image, weight.astype(np.float32)) + bias for image in features]
    low, high = np.quantile(np.stack(decisions), _TRIM)
    scale = 1 / max(high - low, 1e-12)
    return Foreground(
        torch.from_numpy((weight * scale).astype(np.float32)),
        torch.tensor((bias - low) * scale, dtype=torch.float32),
    )


def linear_discriminant(negative: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, float]:
    """Fisher's discriminant of two classes (N, C) with the priors of their sizes: weight (C,), bias; float64."""
    negative, positive = negative.astype(np.float64), positive.astype(np.float64)
    low, high = negative.mean(0), positive.mean(0)
    centred = np.concatenate([negative - low, positive - high])
    covariance = centred.T @ centred / len(centred)
    covariance += np.eye(len(low)) * _SHRINK * max(float(np.trace(covariance)) / len(low), 1e-12)
    weight = np.linalg.solve(covariance, high - low)
    bias = np.log(len(positive) / len(negative)) - weight @ (low + high) / 2
    return weight, float(bias)


def sharpen(maps: Tensor) -> Tensor:
    """The map that training draws points from: (B, H, W) blurred (σ = H/25 cells), then 1 / (1 + e^(5 − 10x))."""
    sigma = maps.shape[1] / 25
    return torch.sigmoid(10 * gaussian_blur(maps, sigma, reach=round(4 * sigma)) - 5)


def _sample(features: np.ndarray, chosen: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """At most ``most`` random feature vectors (n, C) among the ``chosen`` (N, H, W) cells."""
    places = np.flatnonzero(chosen)
    if len(places) > most:
        places = np.sort(rng.choice(places, most, replace=False))
    image, row, column = np.unravel_index(places, chosen.shape)
    return np.asarray(features[image, :, row, column])
