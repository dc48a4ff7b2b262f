"""One line of text on a picture, in OpenCV's own letters: the same on every machine, no font needed."""

import cv2
import numpy as np
from numpy.typing import NDArray

LINE = 26  # pixels that a line of text takes, from top to foot
MARGIN = 8  # pixels left, right and below it
PAPER = (24, 24, 27)  # RGB
INK = (228, 228, 231)  # RGB
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SCALE = 0.45


def write_line(canvas: NDArray[np.uint8], text: str, left: int, foot: int, room: int) -> None:
    """Write one line into ``canvas`` (H, W, 3) RGB, in place.

    Args:
        canvas: where to write.
        text: signs outside ASCII are written as "?", what does not fit is cut.
        left: column of its first letter, in pixels.
        foot: row that its letters stand on.
        room: pixels that it may take in width.
    """
    line = text.encode("ascii", "replace").decode("ascii").replace("\n", " ")
    if _width(line) > room:
        while line and _width(line + "...") > room:
            line = line[:-1]
        line += "..."
    cv2.putText(canvas, line, (left, foot), _FONT, _SCALE, INK, 1, cv2.LINE_AA)


def _width(line: str) -> int:
    return cv2.getTextSize(line, _FONT, _SCALE, 1)[0][0]
