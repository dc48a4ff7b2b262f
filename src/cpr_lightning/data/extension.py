"""Real defects pasted on training images, turned, scaled and moved: the "extended anomalies" of PRN (CVPR 2023), which
CPR follows in its supervised setting.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cpr_lightning.data.disturbance import altered
from cpr_lightning.data.images import read_image
from cpr_lightning.data.samples import Sample
from cpr_lightning.errors import DataError
from cpr_lightning.settings import SupervisedSettings

Image = NDArray[np.uint8]  # RGB (H, W, 3)
Mask = NDArray[np.bool_]  # (H, W), True where defective


@dataclass(frozen=True)
class RealDefects:
    """Real defective images to learn from.

    Attributes:
        images: (N, H, W, 3) uint8 RGB.
        masks: (N, H, W) bool; each marks something.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    @classmethod
    def read(cls, samples: Sequence[Sample], size: int) -> "RealDefects":
        """Read defective images and their masks, resized to ``size`` × ``size``; DataError if one cannot be read."""
        images = np.stack([read_image(sample.image, size) for sample in samples])
        return cls(images, np.stack([_mask(sample, size) for sample in samples]))


class ExtendedAnomalies:
    """Pastes real defects on images; holds no random state of its own.

    Args:
        defects: where they are taken from.
        settings: how often, how many, and how much they are changed.
    """

    def __init__(self, defects: RealDefects, settings: SupervisedSettings) -> None:
        self.defects = defects
        self.settings = settings

    def __call__(self, image: Image, mask: Mask, rng: np.random.Generator) -> tuple[Image, Mask]:
        """With the probability ``pasted_probability``, one to ``pasted_most`` defects over ``image``.

        Args:
            image: (H, W, 3) of the defects' size, with a defect already or without.
            mask: (H, W), where it is defective already.
            rng: all that is random.

        Returns:
            The image, and the union of all defects; the arguments themselves, not copies, where nothing is pasted.
        """
        if rng.random() >= self.settings.pasted_probability:
            return image, mask
        image, mask = image.copy(), mask.copy()
        for _ in range(int(rng.integers(1, self.settings.pasted_most + 1))):
            self._paste(image, mask, rng)
        return image, mask

    def _paste(self, image: Image, mask: Mask, rng: np.random.Generator) -> None:
        """One defect over ``image`` and ``mask``, which are changed."""
        chosen = int(rng.integers(len(self.defects)))
        source, marks = self.defects.images[chosen], self.defects.masks[chosen]
        if rng.random() < self.settings.altered_probability:
            source = altered(source, rng)
        top, left = 0, 0
        if rng.random() < self.settings.moved_probability:
            source, marks = turned(source, marks, rng.uniform(0.0, 360.0), _drawn(self.settings.scale, rng))
            top, left = (_start(part, whole, rng) for part, whole in zip(marks.shape, mask.shape, strict=True))
        # Where the part and the image overlap, seen from either.
        here = tuple(slice(max(start, 0), start + part) for start, part in zip((top, left), marks.shape, strict=True))
        below, changed = image[here], mask[here]
        row, column = max(-top, 0), max(-left, 0)
        cut = slice(row, row + changed.shape[0]), slice(column, column + changed.shape[1])
        source, marks = source[cut], marks[cut]
        opacity = _drawn(self.settings.opacity, rng)
        below[marks] = np.rint(opacity * source[marks] + (1.0 - opacity) * below[marks]).astype(np.uint8)
        changed |= marks


def turned(image: Image, mask: Mask, degrees: float, scale: float) -> tuple[Image, Mask]:
    """What ``mask`` marks in ``image``, turned about its centre and scaled.

    Bilinear, as images are resized. The centre of a pixel decides whether the mask covers it, so that a defect that is
    thinner than a pixel may vanish.

    Returns:
        (h, w, 3) and (h, w): the smallest rectangle that holds the mask; (0, 0, 3) and (0, 0) if nothing is left of it.
    """
    places = np.argwhere(mask)[:, None, ::-1].astype(np.float64)  # (n, 1, 2), x and y
    x, y = places[:, 0].mean(axis=0)
    turn = cv2.getRotationMatrix2D((float(x), float(y)), degrees, scale)
    reached = np.asarray(cv2.transform(places, turn))[:, 0]
    margin = math.ceil(scale)  # the places are centres of pixels, half a diagonal away from their corners
    low = np.floor(reached.min(axis=0)) - margin
    width, height = (np.ceil(reached.max(axis=0)) + margin - low + 1).astype(int).tolist()
    turn[:, 2] -= low
    marks = np.asarray(cv2.warpAffine(mask.astype(np.float32), turn, (width, height), flags=cv2.INTER_LINEAR)) > 0.5
    # Beyond the edge of the image its last pixels go on: nothing dark may creep into a defect that lies there.
    source = cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    rows, columns = np.flatnonzero(marks.any(axis=1)), np.flatnonzero(marks.any(axis=0))
    if len(rows) == 0:
        return image[:0, :0], mask[:0, :0]
    kept = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return np.asarray(source, np.uint8)[kept], marks[kept]


def _drawn(limits: Sequence[float], rng: np.random.Generator) -> float:
    low, high = limits
    return rng.uniform(low, high)


def _start(part: int, whole: int, rng: np.random.Generator) -> int:
    """Where a part begins that lies inside the whole at random; one that is larger covers all of it."""
    low, high = sorted((0, whole - part))
    return int(rng.integers(low, high + 1))


def _mask(sample: Sample, size: int) -> Mask:
    mask, whole = sample.read_mask(size), sample.read_mask()
    if mask is None or whole is None:
        raise DataError(f"{sample.image} has no mask; its defect cannot be learned from.")
    if mask.any():
        return mask
    # Smaller than a pixel at this size; but an image that shows a defect must not pass for a good one.
    covered = cv2.resize(whole.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(covered) > 0
