"""A sheet of pictures: one row for each image, one headed column for each thing to see of it."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from cpr_lightning.visual.lettering import LINE, MARGIN, PAPER, write_line

_GAP = 6


class Tile(NamedTuple):
    """A picture and the line below it."""

    picture: NDArray[np.uint8] | None  # (H, W, 3) RGB of any size; None leaves the place empty
    label: str = ""


def compose_sheet(title: str, headings: Sequence[str], rows: Sequence[Sequence[Tile]], side: int) -> NDArray[np.uint8]:
    """Put rows of tiles below their headings.

    Args:
        title: one line above all.
        headings: one a column.
        rows: as many tiles as there are headings, in each; a row may be shorter.
        side: pixels of the square that a picture is fitted into; its aspect ratio stays.

    Returns:
        (rows, columns, 3) uint8 RGB.

    Raises:
        ValueError: there is no row, or a row has more tiles than there are headings.
    """
    if not rows or not headings:
        raise ValueError("A sheet needs at least one row and one column.")
    if max(map(len, rows)) > len(headings):
        raise ValueError(f"A row has {max(map(len, rows))} tiles, but there are {len(headings)} headings.")
    step = side + _GAP
    height = 2 * LINE + len(rows) * (side + LINE + _GAP)
    canvas = np.full((height, MARGIN + len(headings) * step - _GAP + MARGIN, 3), PAPER, np.uint8)
    write_line(canvas, title, MARGIN, LINE - MARGIN, canvas.shape[1] - 2 * MARGIN)
    for column, heading in enumerate(headings):
        write_line(canvas, heading, MARGIN + column * step, 2 * LINE - MARGIN, side)
    for number, row in enumerate(rows):
        top = 2 * LINE + number * (side + LINE + _GAP)
        for column, tile in enumerate(row):
            left = MARGIN + column * step
            if tile.picture is not None:
                _place(canvas[top : top + side, left : left + side], tile.picture)
            write_line(canvas, tile.label, left, top + side + LINE - MARGIN, side)
    return canvas


def fitted(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A picture (H, W, 3) as large as it can be in a square of ``side`` pixels.

    What is drawn on it afterwards is as thick as it was drawn, however large the file is.
    """
    height, width = picture.shape[:2]
    zoom = side / max(height, width)
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    shown = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
    return np.asarray(shown, np.uint8)


def _place(place: NDArray[np.uint8], picture: NDArray[np.uint8]) -> None:
    """Put a picture into the middle of a square of the canvas."""
    shown = fitted(picture, len(place))
    height, width = shown.shape[:2]
    top, left = (len(place) - height) // 2, (len(place) - width) // 2
    place[top : top + height, left : left + width] = shown
