"""Draws a synthetic defect on a defect-free image, on the fly (MemSeg, arXiv 2205.00908, section 3.2)."""

from collections.abc import Callable
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from cpr_lightning.data.defect_masks import draw_mask
from cpr_lightning.data.disturbance import structure
from cpr_lightning.errors import SettingsError

Kind = Literal["object", "texture"]
TextureSource = Callable[[int, np.random.Generator], NDArray[np.uint8]]
"""(size, rng) → uint8 RGB (size, size, 3): a `TextureFolder` or `generated_texture`."""

OBJECT_TEXTURE_PROBABILITY = 0.5


class SyntheticDefects:
    """Makes (image, defect mask) pairs from defect-free images; holds no random state of its own.

    `kind`: an object's defects show a texture or the disturbed image itself, half and half; a texture's
    always show another texture. `probability`, in [0, 1]: the part of images that get a defect. `opacity`,
    within (0, 1]: the range from which a defect's opacity f is drawn. `scale`: defects are drawn at this many times
    the image's size and scaled down, which gives them soft edges and fine textures (2, that is 640 pixels for 320, in
    the released code). Raises SettingsError for other values.
    """

    def __init__(
        self,
        kind: Kind,
        texture_source: TextureSource,
        probability: float = 0.9,
        opacity: tuple[float, float] = (0.5, 1.0),
        scale: int = 1,
    ) -> None:
        if kind not in get_args(Kind):
            raise SettingsError(f"dataset.kind is {kind!r}; set it to 'object' or 'texture'")
        if not 0.0 <= probability <= 1.0:
            raise SettingsError(f"training.defect_probability is {probability}; set it to a fraction from 0 to 1")
        if len(opacity) != 2 or not 0.0 < opacity[0] <= opacity[1] <= 1.0:
            raise SettingsError(f"opacity is {tuple(opacity)}; it must be (low, high) with 0 < low ≤ high ≤ 1")
        if scale < 1:
            raise SettingsError(f"training.defect_scale is {scale}; set it to 1 or more")
        self.scale = scale
        self.kind: Kind = kind
        self.texture_source = texture_source
        self.probability = probability
        self.opacity = opacity

    def __call__(
        self,
        image: NDArray[np.uint8],
        rng: np.random.Generator,
        foreground: NDArray[np.float32] | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """`image` (H, H, 3), with or without a defect, and the mask (H, H) of the defect.

        Inside the mask the result is f·source + (1 − f)·image, rounded; outside it is `image`, but for a soft edge of
        a pixel where `scale` is above 1. `foreground`
        (h, w), of any size, in [0, 1]: each connected part of the defect touches a pixel where it is above
        0.5. Without a defect `image` itself (not a copy) is returned, with an empty mask.
        """
        height, width = image.shape[:2]
        if height != width:
            raise ValueError(f"synthetic defects are drawn on square images, got {height}×{width}")
        if rng.random() >= self.probability:
            return image, np.zeros((height, width), np.bool_)
        if self.scale == 1:
            return self._draw(image, rng, foreground)
        side = self.scale * height
        large = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)
        drawn, mask = self._draw(np.asarray(large, np.uint8), rng, foreground)
        down = cv2.resize(drawn, (height, height), interpolation=cv2.INTER_LINEAR)
        kept = cv2.resize(mask.astype(np.uint8), (height, height), interpolation=cv2.INTER_NEAREST) > 0
        # Away from the defect the image is the one that was read, not one that was scaled up and down.
        touched = cv2.resize(mask.astype(np.float32), (height, height), interpolation=cv2.INTER_LINEAR) > 0
        return np.where(touched[..., None], down, image).astype(np.uint8), kept

    def _draw(
        self, image: NDArray[np.uint8], rng: np.random.Generator, foreground: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        mask = draw_mask(image.shape[0], rng, foreground)
        source = self._source(image, rng)
        opacity = rng.uniform(*self.opacity)
        result = image.copy()
        result[mask] = np.rint(opacity * source[mask] + (1.0 - opacity) * image[mask]).astype(np.uint8)
        return result, mask

    def _source(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        if self.kind == "texture" or rng.random() < OBJECT_TEXTURE_PROBABILITY:
            return self.texture_source(image.shape[0], rng)
        return structure(image, rng)
