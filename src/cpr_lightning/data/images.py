"""Reading images and masks from disk."""

import io
from contextlib import suppress
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
_LOSSY = frozenset([".avif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".webp"])
_LOSS = 64  # grey levels that a mask in such a format may be off by; JPEG of quality 75 is, on MVTec AD's, by up to 42
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


def read_mask(path: Path, size: int | None = None, threshold: int | None = None) -> NDArray[np.bool_]:
    """Read a defect mask; nearest-neighbor resize.

    Args:
        path: a grey image, or a colour one whose channels are equal.
        size: pixels on a side; None keeps the size.
        threshold: a pixel above it is defective: 0 for masks that number the sorts of defects. A palette's numbers are
            taken then, not its colours. None: the mask holds 0 (good) and 255 (defective). Formats that lose
            information, such as JPEG, may be up to 64 off.

    Returns:
        (H, W) bool.

    Raises:
        DataError: as :func:`read_image`, or the mask is in colour, or holds other values than it may.
    """
    mask = _decode_mask(path, threshold is not None)
    if threshold is None:
        _refuse_other_values(path, mask)
        threshold = 127
    if size is not None and mask.shape != (size, size):
        mask = cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST)
    return np.asarray(mask > threshold)


def _decode_mask(path: Path, numbers: bool) -> np.ndarray:
    """(H, W): the values of a mask; with ``numbers`` as they are stored, else as the grey that is seen, uint8."""
    content = _content(path)
    if numbers and content[:2] == b"\x89P":
        with suppress(OSError, SyntaxError), Image.open(io.BytesIO(content)) as image:
            if image.mode == "P":
                return np.asarray(image)
    mask = _picture(path, content, cv2.IMREAD_ANYCOLOR | (cv2.IMREAD_ANYDEPTH if numbers else 0))
    if mask.ndim == 2:
        return mask
    if (mask.max(axis=2) - mask.min(axis=2)).max() > (_LOSS if _loses(path) else 0):
        raise DataError(
            f"The mask {path} is in colour; a mask is black (good) and white (defective). Save it so, or leave it out: "
            "dataset.on_error=skip."
        )
    return mask[..., 0]


def _refuse_other_values(path: Path, mask: np.ndarray) -> None:
    near = _LOSS if _loses(path) else 0
    other = (mask > near) & (mask < 255 - near)
    if other.any():
        found = np.unique(mask)
        shown = ", ".join(map(str, found[:6])) + (", …" if len(found) > 6 else "")
        raise DataError(
            f"The mask {path} holds the values {shown}; it may hold 0 (good) and 255 (defective) alone. Save it so, or "
            "say above which value a pixel is defective: dataset.mask_threshold=0 for masks that number defects, 127 "
            "for soft edges."
        )


def _loses(path: Path) -> bool:
    return path.suffix.lower() in _LOSSY


def _decode(path: Path, flags: int) -> np.ndarray:
    return _picture(path, _content(path), flags)


def _content(path: Path) -> bytes:
    """A file's bytes, if its picture ends in them."""
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
    return content


def _picture(path: Path, content: bytes, flags: int) -> np.ndarray:
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
