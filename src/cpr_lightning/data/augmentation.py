"""Photometric augmentation of training images. No flips, no geometry: the place of a patch is what is compared."""

from typing import Any

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

_NOISE = (0.0, 0.03)  # a signal-to-noise ratio drawn from U(0.97, 1)
_LIGHTNESS = (0.9, 1.1)


class Lightness(A.ImageOnlyTransform):
    """Lightness in HLS times a random factor; hue and saturation stay."""

    def get_params(self) -> dict[str, Any]:
        """Draw the factor from the transform's own, seeded generator."""
        return {"factor": self.py_random.uniform(*_LIGHTNESS)}

    def apply(self, img: NDArray[np.uint8], factor: float, **params: Any) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB → the same."""
        del params
        hls = cv2.cvtColor(img, cv2.COLOR_RGB2HLS)
        hls[..., 1] = np.clip(hls[..., 1] * factor, 0, 255).astype(np.uint8)
        return np.asarray(cv2.cvtColor(hls, cv2.COLOR_HLS2RGB), dtype=np.uint8)


class Augmentation:
    """Salt-and-pepper noise and a change of lightness, each with its own chance.

    albumentations keeps a random state of its own, which repeats across epochs in loader workers; so it is seeded anew
    for every image from the caller's generator.

    Args:
        probability: of each of the two.
    """

    def __init__(self, probability: float = 0.3) -> None:
        # Not one Compose of both: it gives its transforms the same seed, and they would always come together.
        self._transforms = [
            A.Compose([A.SaltAndPepper(amount=_NOISE, salt_vs_pepper=(0.5, 0.5), p=probability)]),
            A.Compose([Lightness(p=probability)]),
        ]

    def __call__(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB → the same shape and type; the input is not changed."""
        for transform in self._transforms:
            transform.set_random_seed(int(rng.integers(2**31)))
            image = transform(image=image)["image"]
        return image
