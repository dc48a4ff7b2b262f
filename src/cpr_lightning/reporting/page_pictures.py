"""Pictures inside a page: small, each once, and not more than it can carry."""

import base64
from pathlib import Path

import cv2

from cpr_lightning.data.images import read_image
from cpr_lightning.errors import DataError

_QUALITY = 72  # of WebP, at which the edges of heat maps stay clean
_HIGHEST = 16383  # pixels; the format has no more


class Pictures:
    """A page's pictures, up to a total size.

    Attributes:
        left_out: how many found no room.
    """

    def __init__(self, room: int) -> None:
        """``room``: bytes for all pictures, as they stand in the page."""
        self._room = room
        self._numbers: dict[tuple[Path, int], int | None] = {}
        self._addresses: list[str] = []
        self.left_out = 0

    @property
    def addresses(self) -> list[str]:
        """``data:`` addresses, by number."""
        return self._addresses

    def add(self, path: Path, width: int) -> int | None:
        """The number of a picture, reduced to a width in pixels; None where it cannot be read or finds no room."""
        key = (path, width)
        if key not in self._numbers:
            self._numbers[key] = self._added(path, width)
        return self._numbers[key]

    def _added(self, path: Path, width: int) -> int | None:
        if self._room <= 0:
            self.left_out += 1
            return None
        try:
            image = read_image(path)
        except (DataError, OSError):
            return None
        if image.shape[1] > width:
            height = max(1, round(image.shape[0] * width / image.shape[1]))
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        if image.shape[0] > _HIGHEST:
            return None
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        content = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])[1]
        address = "data:image/webp;base64," + base64.b64encode(content.tobytes()).decode("ascii")
        if len(address) > self._room:
            self._room = 0  # what is asked for later is of less interest: no small one slips in instead
            self.left_out += 1
            return None
        self._room -= len(address)
        self._addresses.append(address)
        return len(self._addresses) - 1
