"""Where a synthetic defect lies: rotated, thresholded Perlin noise.

Source: MemSeg (arXiv 2205.00908, section 3.2) and DRAEM (arXiv 2108.07610, section 3.2), which CPR follows
(arXiv 2308.06748, section IV-A).
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

LATTICE_EXPONENTS = 6
"""A side has 2^e lattice cells, e drawn from 0 to one less than this, for each axis on its own."""
ROTATION_DEGREES = 90.0
NOISE_THRESHOLD = 0.5
SMALLEST_COMPONENT = 0.001
"""Components that cover a smaller part of the image are dropped."""
FOREGROUND_THRESHOLD = 0.5
DRAWS = 100


def perlin_noise(size: int, cells: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Perlin gradient noise (size, size), about in [-1, 1], on a lattice of `cells` = (rows, columns)."""
    rows, columns = cells
    angle = rng.uniform(0.0, 2.0 * math.pi, (rows + 1, columns + 1))
    upper, fraction_y, fade_y = _places_in_cells(size, rows)
    left, fraction_x, fade_x = _places_in_cells(size, columns)
    fraction_y, fade_y = fraction_y[:, None], fade_y[:, None]
    # Along y on the small lattice first, then along x: half of the work of four corners for every pixel. Two
    # matrix products would be shorter, but take far longer when the threads of BLAS and of OpenCV meet.
    across, down = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    across = across[upper] + fade_y * (across[upper + 1] - across[upper])
    down = down[upper] * fraction_y * (1.0 - fade_y) + down[upper + 1] * (fraction_y - 1.0) * fade_y
    noise = across[:, left] * (fraction_x * (1.0 - fade_x)) + down[:, left] * (1.0 - fade_x)
    noise += across[:, left + 1] * ((fraction_x - 1.0) * fade_x) + down[:, left + 1] * fade_x
    return np.asarray(noise * math.sqrt(2.0), np.float32)  # unit gradients reach √½ at most


def _places_in_cells(size: int, cells: int) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
    """For each pixel of an axis: its cell, its place t there in [0, 1), and its fade 6t⁵ − 15t⁴ + 10t³."""
    place = np.arange(size) * (cells / size)
    cell = np.minimum(place.astype(np.intp), cells - 1)
    fraction = place - cell
    fade = fraction**3 * (fraction * (fraction * 6.0 - 15.0) + 10.0)
    return cell, fraction.astype(np.float32), fade.astype(np.float32)


def draw_mask(size: int, rng: np.random.Generator, foreground: NDArray[np.float32] | None = None) -> NDArray[np.bool_]:
    """One defect mask (size, size), never empty.

    Components below 0.1 % of the image are dropped, and so are those that touch no pixel above 0.5 of
    `foreground`, a map (h, w) of any size with values in [0, 1]. Noise is drawn again until something is
    left; after 100 draws (at once, when there is no foreground at all) the mask is an ellipse with half-axes
    of 3 % to 10 % of the side, centred on a random foreground pixel — on any pixel when there is none.
    """
    allowed = None if foreground is None else _resized_foreground(foreground, size)
    if allowed is None or allowed.any():
        for _ in range(DRAWS):
            mask = _kept_components(_rotated_noise(size, rng) > NOISE_THRESHOLD, allowed)
            if mask is not None:
                return mask
    return _ellipse(size, rng, allowed)


def _resized_foreground(foreground: NDArray[np.float32], size: int) -> NDArray[np.bool_]:
    resized = cv2.resize(np.asarray(foreground, np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized) > FOREGROUND_THRESHOLD


def _rotated_noise(size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    row_exponent, column_exponent = rng.integers(0, LATTICE_EXPONENTS, 2)
    noise = perlin_noise(size, (2 ** int(row_exponent), 2 ** int(column_exponent)), rng)
    centre = (size - 1) / 2.0
    turn = cv2.getRotationMatrix2D((centre, centre), rng.uniform(-ROTATION_DEGREES, ROTATION_DEGREES), 1.0)
    # What turns in from outside is 0: no defect there.
    return np.asarray(cv2.warpAffine(noise, turn, (size, size), flags=cv2.INTER_LINEAR), np.float32)


def _kept_components(mask: NDArray[np.bool_], allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """`mask` without small components and those outside `allowed`; None when nothing is left."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    keep = statistics[:, cv2.CC_STAT_AREA] >= SMALLEST_COMPONENT * mask.size
    keep[0] = False  # label 0 is the background
    if allowed is not None:
        keep &= np.bincount(labels[allowed], minlength=count) > 0
    return keep[np.asarray(labels, np.int32)] if keep.any() else None


def _ellipse(size: int, rng: np.random.Generator, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    places = np.flatnonzero(allowed) if allowed is not None and allowed.any() else np.arange(size * size)
    row, column = divmod(int(rng.choice(places)), size)
    axes = [max(1, round(half)) for half in rng.uniform(0.03, 0.1, 2) * size]
    canvas = np.zeros((size, size), np.uint8)
    cv2.ellipse(canvas, (column, row), axes, rng.uniform(0.0, 180.0), 0.0, 360.0, 1, thickness=-1)
    return canvas.view(np.bool_)
