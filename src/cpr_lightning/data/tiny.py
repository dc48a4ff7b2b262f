"""A small generated dataset in MVTec AD's layout: to try every verb with, and to test on."""

import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from cpr_lightning.data.tiny_parts import DEFECTS, PRODUCTS, Field
from cpr_lightning.errors import DataError, SettingsError

TINY_CATEGORIES: dict[str, Literal["object", "texture"]] = {"washer": "object", "weave": "texture"}
SMALLEST_SIZE = 32
"""Pixels a side; below this a defect is thinner than a pixel."""
VISIBLE = 8.0 / 255.0
"""A change of a channel that counts as visible, and so belongs to the mask."""


@dataclass(frozen=True)
class TinyImage:
    """`image` and `clean`, the same without its defect: uint8 (size, size, 3); `mask`: bool (size, size)."""

    image: NDArray[np.uint8]
    clean: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def write_tiny(
    root: Path,
    *,
    size: int = 256,
    train: int = 24,
    test_good: int = 8,
    test_per_defect: int = 4,
    seed: int = 0,
) -> Path:
    """Writes both categories of TINY_CATEGORIES below `root`, and returns `root`.

    `size` is the side of the images in pixels; `train`, `test_good` and `test_per_defect` count images per
    category (and per kind of defect, of which each category has three). The same arguments give the same
    bytes. Raises DataError when a category is there already, SettingsError for a size below 32
    or a count below 1.

    Layout: `<category>/train/good/000.png`, `<category>/test/<good or defect>/000.png` and
    `<category>/ground_truth/<defect>/000_mask.png` (0 good, 255 defective).
    """
    if size < SMALLEST_SIZE:
        raise SettingsError(f"size is {size}; set it to {SMALLEST_SIZE} pixels or more")
    counts = {"train": train, "test_good": test_good, "test_per_defect": test_per_defect}
    for key, count in counts.items():
        if count < 1:
            raise SettingsError(f"{key} is {count}; set it to 1 image or more")
    root = Path(root)
    for category in TINY_CATEGORIES:
        if (root / category).exists():
            raise DataError(f"'{root / category}' is there already; choose another root, or delete it first")
    root.mkdir(parents=True, exist_ok=True)
    # Written beside the target and renamed at the end: an interrupted call leaves no half of a dataset.
    with tempfile.TemporaryDirectory(prefix=".tiny-", dir=root) as staging:
        for category in TINY_CATEGORIES:
            _write_category(Path(staging) / category, size, counts, seed)
        for category in TINY_CATEGORIES:
            (Path(staging) / category).rename(root / category)
    return root


def _write_category(folder: Path, size: int, counts: dict[str, int], seed: int) -> None:
    category = folder.name
    for split, count in (("train", counts["train"]), ("test", counts["test_good"])):
        for index in range(count):
            drawn = render(category, None, size, image_generator(seed, category, f"{split}/good", index))
            _write_png(folder / split / "good" / f"{index:03d}.png", drawn.image)
    for defect in DEFECTS[category]:
        for index in range(counts["test_per_defect"]):
            drawn = render(category, defect, size, image_generator(seed, category, f"test/{defect}", index))
            _write_png(folder / "test" / defect / f"{index:03d}.png", drawn.image)
            mask = drawn.mask.astype(np.uint8) * np.uint8(255)
            _write_png(folder / "ground_truth" / defect / f"{index:03d}_mask.png", mask)


def render(category: str, defect: str | None, size: int, rng: np.random.Generator) -> TinyImage:
    """One image of `category` with `defect` (one of DEFECTS[category]), or without one."""
    scene = PRODUCTS[category](size, rng)
    changed = scene.colour if defect is None else DEFECTS[category][defect](scene, rng)
    # The same camera noise on both, so that the mask is about the defect alone.
    noise = rng.normal(0.0, 0.012, scene.colour.shape)
    mask = np.abs(changed - scene.colour).max(axis=2) > VISIBLE
    return TinyImage(_quantised(changed + noise), _quantised(scene.colour + noise), mask)


def _quantised(colour: Field) -> NDArray[np.uint8]:
    return np.rint(np.clip(colour, 0.0, 1.0) * 255.0).astype(np.uint8)


def image_generator(seed: int, category: str, split: str, index: int) -> np.random.Generator:
    """The generator of one image, so that an image does not depend on how many others are written.

    `split` is the image's folder in the category, such as `test/scratch`.
    """
    # crc32, because Python's own hash of a string differs from process to process.
    return np.random.default_rng([seed, zlib.crc32(f"{category}/{split}".encode()), index])


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if not cv2.imwrite(str(path), written):
        raise DataError(f"'{path}' cannot be written; check that the disk has room and lets you write there")
