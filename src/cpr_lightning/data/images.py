"""Reading images and masks from disk."""

import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cpr_lightning.errors import DataError

SUFFIXES = frozenset(
    [
        ".avif",
        ".bmp",
        ".dib",
        ".exr",
        ".gif",
        ".hdr",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pfm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".ras",
        ".sr",
        ".tif",
        ".tiff",
        ".webp",
    ]
)
_TAIL = 4096  # bytes at the end of a file in which its end marker is looked for
_END_MARKERS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND"}  # JPEG, PNG


def is_image(path: Path) -> bool:
    """Whether the name is that of an image (and not of a hidden file)."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def list_images(folder: Path) -> list[Path]:
    """All images below a folder, sorted by path."""
    return sorted(path for path in folder.rglob("*") if is_image(path) and path.is_file())


def find_images(source: Path) -> list[Path]:
    """An image, or all images below a folder.

    Raises:
        DataError: there is none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError(f"images={source} is neither a file nor a folder.")
    paths = list_images(source)
    if not paths:
        raise DataError(f"images={source} holds no image.")
    return paths


def read_image(path: Path, size: int | None = None) -> NDArray[np.uint8]:
    """Read an image as RGB, grey or deep ones too, and resize it to a square.

    Args:
        path: any format that OpenCV reads.
        size: pixels on a side; bilinear without anti-aliasing, aspect ratio ignored, as in the released code. None
            keeps the size.

    Returns:
        (H, W, 3) uint8.

    Raises:
        DataError: the file is missing, is not an image, or is cut short.
    """
    image = _decode(path, cv2.IMREAD_COLOR)
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    if size is not None and image.shape[:2] != (size, size):
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(image, dtype=np.uint8)


def read_mask(path: Path, size: int | None = None) -> NDArray[np.bool_]:
    """Read a defect mask: nearest-neighbor resize, a pixel is defective above 127.

    Returns:
        (H, W) bool.

    Raises:
        DataError: as :func:`read_image`.
    """
    mask = _decode(path, cv2.IMREAD_GRAYSCALE)
    if size is not None and mask.shape != (size, size):
        mask = cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST)
    return np.asarray(mask) > 127


def _decode(path: Path, flags: int) -> np.ndarray:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if _cut_short(content):
        raise DataError(
            f"{path} is cut short or damaged. Copy it again, remove it, or go on without it: dataset.on_error=skip."
        )
    image = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
    if image is None:
        raise DataError(
            f"{path} is not an image that OpenCV can read. Remove it, or go on without it: dataset.on_error=skip."
        )
    return image


def _cut_short(content: bytes) -> bool:
    """Whether a file ends before its picture does: OpenCV fills the rest with grey and says nothing."""
    marker = _END_MARKERS.get(content[:2])
    if marker is None or marker in content[-_TAIL:]:
        return False
    # No end marker near the end: some cameras append data of their own, so a strict decoder decides.
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except (OSError, UnidentifiedImageError, SyntaxError):
        return True
    return False
