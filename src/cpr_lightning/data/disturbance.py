"""What a synthetic defect shows of the image itself: its pixels, disturbed.

Source: MemSeg (arXiv 2205.00908, section 3.2: "structure" anomalies), which CPR follows.
"""

from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from cpr_lightning.data.textures import Pixels

Operation = Callable[[Pixels, np.random.Generator], Pixels]

GRID_CELLS = 16
OPERATIONS_AT_ONCE = 3


def structure(image: Pixels, rng: np.random.Generator) -> Pixels:
    """`image` (H, W, 3) after three different random operations and a shuffle of its 16×16 grid of cells."""
    return shuffled_cells(_operated(image, OPERATIONS, rng), rng)


def altered(image: Pixels, rng: np.random.Generator) -> Pixels:
    """`image` (H, W, 3) after three different random photometric operations: everything stays at its place."""
    return _operated(image, PHOTOMETRIC, rng)


def _operated(image: Pixels, operations: tuple[Operation, ...], rng: np.random.Generator) -> Pixels:
    for chosen in rng.choice(len(operations), OPERATIONS_AT_ONCE, replace=False):
        image = operations[int(chosen)](image, rng)
    return image


def shuffled_cells(image: Pixels, rng: np.random.Generator) -> Pixels:
    """`image` with the cells of a 16×16 grid permuted.

    A cell is H // 16 × W // 16 pixels; the rows and columns left over at the end stay where they are.
    """
    rows, columns = min(GRID_CELLS, image.shape[0]), min(GRID_CELLS, image.shape[1])
    height, width = image.shape[0] // rows, image.shape[1] // columns
    whole = image[: rows * height, : columns * width]
    cells = whole.reshape(rows, height, columns, width, 3).swapaxes(1, 2).reshape(-1, height, width, 3)
    moved = cells[rng.permutation(len(cells))].reshape(rows, columns, height, width, 3)
    result = image.copy()
    result[: rows * height, : columns * width] = moved.swapaxes(1, 2).reshape(whole.shape)
    return result


def _gamma(image: Pixels, rng: np.random.Generator) -> Pixels:
    ramp = np.linspace(0.0, 1.0, 256)
    tables = [np.rint(255.0 * ramp**power).astype(np.uint8) for power in rng.uniform(0.5, 2.0, 3)]
    return np.stack([table[image[..., channel]] for channel, table in enumerate(tables)], axis=-1)


def _brightness(image: Pixels, rng: np.random.Generator) -> Pixels:
    table = np.arange(256) * rng.uniform(0.8, 1.2) + rng.uniform(-30.0, 30.0)
    return np.clip(np.rint(table), 0, 255).astype(np.uint8)[image]


def _sharpness(image: Pixels, rng: np.random.Generator) -> Pixels:
    return np.asarray(ImageEnhance.Sharpness(Image.fromarray(image)).enhance(rng.uniform(0.1, 1.9)))


def _hue_and_saturation(image: Pixels, rng: np.random.Generator) -> Pixels:
    hue, saturation = rng.integers(-50, 51, 2)
    hsv = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL), np.int16)
    hsv[..., 0] = (hsv[..., 0] + hue) % 256
    hsv[..., 1] = np.clip(hsv[..., 1] + saturation, 0, 255)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB_FULL), np.uint8)


def _solarize(image: Pixels, rng: np.random.Generator) -> Pixels:
    applied, threshold = rng.random() < 0.5, int(rng.integers(32, 129))
    return np.asarray(ImageOps.solarize(Image.fromarray(image), threshold)) if applied else image


def _posterize(image: Pixels, rng: np.random.Generator) -> Pixels:
    return np.asarray(ImageOps.posterize(Image.fromarray(image), int(rng.integers(1, 9))))


def _invert(image: Pixels, _rng: np.random.Generator) -> Pixels:
    return np.subtract(np.uint8(255), image)


def _autocontrast(image: Pixels, rng: np.random.Generator) -> Pixels:
    return np.asarray(ImageOps.autocontrast(Image.fromarray(image), cutoff=int(rng.integers(0, 21))))


def _equalize(image: Pixels, _rng: np.random.Generator) -> Pixels:
    return np.asarray(ImageOps.equalize(Image.fromarray(image)))


def _rotation(image: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2.0, (height - 1) / 2.0), rng.uniform(-45.0, 45.0), 1.0)
    return np.asarray(cv2.warpAffine(image, turn, (width, height)), np.uint8)


PHOTOMETRIC: tuple[Operation, ...] = (
    *(_gamma, _brightness, _sharpness, _hue_and_saturation, _solarize),
    *(_posterize, _invert, _autocontrast, _equalize),
)
OPERATIONS: tuple[Operation, ...] = (*PHOTOMETRIC, _rotation)
