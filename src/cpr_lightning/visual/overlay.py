"""Heat-map pictures: an anomaly map laid over its image, on one colour scale for a whole category."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cpr_lightning.errors import DataError
from cpr_lightning.files import replaced
from cpr_lightning.visual.lettering import LINE, MARGIN, PAPER, write_line

TILE = 320  # longest side of a picture in a panel, in pixels
_GAP = 6

_BACKGROUND_AND_PEAK = (0.5, 0.999)
_OPAQUE = 0.85  # of the heat colour at the top of the scale, so that the part stays recognisable below it
_HOTTEST = 235  # of 255: the last colours of Turbo darken to brown, which looks like less and not like more


@dataclass(frozen=True)
class ColourScale:
    """Which anomaly score is shown cold and which hot.

    One scale serves all images of a category: stretching each map to its own range would paint the noise of a
    good image as if it were a defect.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse a scale that has no length."""
        if not (isfinite(self.low) and isfinite(self.high) and self.low < self.high):
            raise ValueError(f"A colour scale needs finite low < high, but has low={self.low} and high={self.high}.")

    @classmethod
    def from_good(cls, maps: Iterable[NDArray[np.floating]]) -> "ColourScale":
        """The scale that the anomaly maps of good images ask for; each map has any shape.

        ``low`` is the usual background (the median over images of each map's median). ``high`` lies twice as
        far above it as the usual peak of a good image (the median over images of each map's 99.9 percentile):
        the noise of good images stays in the lower half, where the overlay is mostly clear. Medians over
        images, so that one bad image among the good ones does not dim the whole category.

        Raises:
            ValueError: there is no map, or the maps hold NaN or infinity.

        """
        summaries = np.array([np.quantile(anomaly_map, _BACKGROUND_AND_PEAK) for anomaly_map in maps], dtype=np.float64)
        if not len(summaries):
            raise ValueError("A colour scale needs the anomaly map of at least one good image.")
        low, peak = np.median(summaries, axis=0).tolist()
        # Flat maps (a foreground that is empty on good images) still need a scale with some length.
        shortest = 1e-6 * max(1.0, abs(low))
        return cls(low, low + max(2 * (peak - low), shortest))

    def place(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        """Where scores of any shape lie on the scale: 0 at or below ``low``, 1 at or above ``high``."""
        return np.clip((scores - self.low) / (self.high - self.low), 0.0, 1.0)


def overlay(image: NDArray[np.uint8], anomaly_map: NDArray[np.floating], scale: ColourScale) -> NDArray[np.uint8]:
    """Lay an anomaly map over its image; what scores low stays as it is.

    Args:
        image: (H, W, 3) uint8 RGB.
        anomaly_map: (h, w) float, any range, enlarged to the image's size bilinearly.
        scale: the category's scale.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: other shapes or kinds than these, or a map that is not finite.

    """
    _check(image, anomaly_map)
    height, width = image.shape[:2]
    resized = cv2.resize(anomaly_map.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    heat = scale.place(np.asarray(resized, np.float32))
    colours = heat_colours(heat)
    alpha = _OPAQUE * heat[..., None] ** 2 * (3 - 2 * heat[..., None])  # smoothstep: calm at the foot
    return np.rint(image * (1 - alpha) + colours * alpha).astype(np.uint8)


def heat_colours(heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Places on a scale (H, W) in [0, 1] → colours (H, W, 3) uint8 RGB, from blue to red."""
    turbo = cv2.applyColorMap(np.rint(heat * _HOTTEST).astype(np.uint8), cv2.COLORMAP_TURBO)
    return np.asarray(turbo[..., ::-1], np.uint8)


def panel(
    image: NDArray[np.uint8],
    anomaly_map: NDArray[np.floating],
    mask: NDArray[np.bool_] | None,
    scale: ColourScale,
    caption: str,
) -> NDArray[np.uint8]:
    """One strip: the image, the true defect outlined (where a mask is known), the overlay; a caption below.

    Args:
        image: (H, W, 3) uint8 RGB.
        anomaly_map: (h, w) float.
        mask: (h', w') bool, any resolution, true on the defect; all false for a good image, None if unknown.
        scale: the category's scale.
        caption: one line; signs outside ASCII are written as "?", what does not fit is cut.

    Returns:
        (rows, columns, 3) uint8 RGB; each picture's longest side is ``TILE`` pixels.

    """
    _check(image, anomaly_map)
    height, width = image.shape[:2]
    zoom = TILE / max(height, width)
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    smoothing = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    shown = np.asarray(cv2.resize(image, size, interpolation=smoothing), np.uint8)
    heated = overlay(shown, anomaly_map, scale)
    tiles = [shown, heated]
    if mask is not None:
        tiles = [shown, outlined(shown, mask), outlined(heated, mask)]

    strip = np.full((size[1] + LINE, len(tiles) * (size[0] + _GAP) - _GAP, 3), PAPER, np.uint8)
    for index, tile in enumerate(tiles):
        left = index * (size[0] + _GAP)
        strip[: size[1], left : left + size[0]] = tile
    write_line(strip, caption, MARGIN, strip.shape[0] - MARGIN, strip.shape[1] - 2 * MARGIN)
    return strip


def write_png(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) uint8 RGB; a reader never sees half a file.

    Raises:
        DataError: OpenCV cannot encode the picture.
        OSError: the folder cannot be written.

    """
    # imencode and not imwrite, which answers False for a full disk or a missing folder and raises nothing.
    try:
        encoded, png = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise DataError(f"{path}: a picture of shape {rgb.shape} cannot be written as PNG: {error}") from error
    if not encoded:
        raise DataError(f"{path}: a picture of shape {rgb.shape} cannot be written as PNG.")
    with replaced(path) as temporary:
        temporary.write_bytes(png.tobytes())


def outlined(tile: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) uint8 with the edge of a mask (h, w) bool of any resolution drawn on it."""
    height, width = tile.shape[:2]
    flags = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(flags, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    drawn = tile.copy()
    # A dark edge below the light line: seen on white parts and on black ones.
    cv2.drawContours(drawn, contours, -1, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.drawContours(drawn, contours, -1, (255, 255, 255), 1, cv2.LINE_AA)
    return drawn


def _check(image: NDArray[np.uint8], anomaly_map: NDArray[np.floating]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"The image must be (H, W, 3) uint8 RGB, but is {image.shape} {image.dtype}.")
    if anomaly_map.ndim != 2 or not np.isfinite(anomaly_map).all():
        raise ValueError(f"The anomaly map must be (h, w) and finite, but is {anomaly_map.shape} or holds NaN.")
