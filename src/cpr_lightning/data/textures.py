"""What a synthetic defect shows of elsewhere: a texture of a folder, or a generated one.

Source: MemSeg (arXiv 2205.00908, section 3.2: "texture" anomalies), which CPR follows.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cpr_lightning.errors import DataError

Pixels = NDArray[np.uint8]  # RGB (H, W, 3)
Level = NDArray[np.floating]  # grey levels (size, size), in no particular range

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class TextureFolder:
    """Random images of a folder laid out like DTD (images in sub-folders of any depth), resized to a square.

    Raises DataError when the folder is missing or empty; a call raises it when an image is unreadable.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(
                f"training.anomaly_sources: '{self.root}' is not a folder; name a folder of texture images "
                "(such as the `images` folder of DTD), or leave the key empty for generated textures"
            )
        # Sorted, because the order in which a disk lists its files must not change what a seed draws.
        self.paths = sorted(path for path in self.root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        if not self.paths:
            raise DataError(
                f"training.anomaly_sources: no images in '{self.root}' or below it; name a folder that holds "
                f"{', '.join(IMAGE_SUFFIXES)} files, or leave the key empty for generated textures"
            )

    def __call__(self, size: int, rng: np.random.Generator) -> Pixels:
        """A random texture (size, size, 3), stretched to a square as DRAEM and MemSeg do."""
        path = self.paths[int(rng.integers(len(self.paths)))]
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise DataError(f"training.anomaly_sources: cannot read '{path}' as an image; delete or repair it")
        interpolation = cv2.INTER_AREA if size < min(image.shape[:2]) else cv2.INTER_LINEAR
        resized = cv2.resize(image, (size, size), interpolation=interpolation)
        return np.asarray(cv2.cvtColor(resized, cv2.COLOR_BGR2RGB), np.uint8)


def generated_texture(size: int, rng: np.random.Generator) -> Pixels:
    """A procedural texture (size, size, 3): clouds, warped stripes, a warped checker, cells or speckle."""
    patterns = (_clouds, _stripes, _checker, _cells, _speckle)
    level = patterns[int(rng.integers(len(patterns)))](size, rng)
    anchors = rng.integers(0, 256, (int(rng.integers(2, 6)), 3)).astype(np.float64)
    steps = np.linspace(0.0, len(anchors) - 1.0, 256)
    palette = np.stack([np.interp(steps, np.arange(len(anchors)), channel) for channel in anchors.T], axis=1)
    low, high = level.min(), level.max()
    index = (level - low) * (255.0 / max(float(high - low), 1e-6))
    return palette.astype(np.uint8)[index.astype(np.uint8)]


def _octaves(size: int, rng: np.random.Generator, coarsest: int, count: int) -> Level:
    """Value noise (size, size), about in [-1, 1]: `count` octaves from `coarsest` cells a side upward."""
    total = np.zeros((size, size), np.float32)
    for octave in range(count):
        cells = min(coarsest * 2**octave, size)
        grid = rng.uniform(-1.0, 1.0, (cells + 1, cells + 1)).astype(np.float32)
        total += 0.5**octave * np.asarray(cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC))
    return total


def _warped_axes(size: int, rng: np.random.Generator) -> tuple[Level, Level]:
    """Two perpendicular coordinates at a random angle, sides of length 1, each bent by smooth noise."""
    line = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    angle = rng.uniform(0.0, np.pi)
    cosine, sine, bend = float(np.cos(angle)), float(np.sin(angle)), rng.uniform(0.0, 0.08)
    along = line * cosine + line[:, None] * sine + bend * _octaves(size, rng, 4, 2)
    across = line[:, None] * cosine - line * sine + bend * _octaves(size, rng, 4, 2)
    return along, across


def _clouds(size: int, rng: np.random.Generator) -> Level:
    return _octaves(size, rng, int(rng.integers(2, 16)), 5)


def _stripes(size: int, rng: np.random.Generator) -> Level:
    along, _ = _warped_axes(size, rng)
    wave = np.sin(along * (2.0 * np.pi * rng.uniform(4.0, 40.0)))
    return np.clip(wave * rng.uniform(1.0, 6.0), -1.0, 1.0) + 0.2 * _octaves(size, rng, 16, 3)


def _checker(size: int, rng: np.random.Generator) -> Level:
    along, across = _warped_axes(size, rng)
    rows, columns = rng.uniform(3.0, 24.0), rng.uniform(3.0, 24.0)
    parity = (np.floor(along * rows).astype(np.int32) + np.floor(across * columns).astype(np.int32)) & 1
    return parity.astype(np.float32) + 0.3 * _octaves(size, rng, 8, 4)


def _cells(size: int, rng: np.random.Generator) -> Level:
    """Voronoi cells: one level per cell, darker towards the rim."""
    count = int(rng.integers(20, 400))
    seeds = np.full((size, size), 255, np.uint8)
    seeds.reshape(-1)[rng.integers(0, size * size, count)] = 0
    distance, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    levels = rng.uniform(0.0, 1.0, int(labels.max()) + 1).astype(np.float32)
    depth = np.asarray(distance) * (rng.uniform(0.0, 1.5) * count**0.5 / size)
    return levels[np.asarray(labels, np.int32)] - depth


def _speckle(size: int, rng: np.random.Generator) -> Level:
    grain = rng.standard_normal((size, size), np.float32)
    blurred = np.asarray(cv2.GaussianBlur(grain, (0, 0), rng.uniform(0.5, 3.0)))
    spread = rng.uniform(1.0, 3.0) / max(float(blurred.std()), 1e-6)
    return np.tanh(blurred * spread) + 0.5 * _octaves(size, rng, 4, 3)
