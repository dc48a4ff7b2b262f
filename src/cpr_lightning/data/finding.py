"""Folders, images and masks by name; what is missing is answered with what is there."""

from collections.abc import Iterable
from difflib import get_close_matches
from glob import escape
from pathlib import Path

from cpr_lightning.data.images import is_image
from cpr_lightning.errors import DataError


def did_you_mean(name: str, there: Iterable[str]) -> str:
    """``; did you mean …?`` or a full stop: the name in another case, or one that is spelled nearly so."""
    names = list(there)
    same = [other for other in names if other.casefold() == name.casefold()]
    near = same or get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]}?" if near else "."


def listing(names: Iterable[str]) -> str:
    """``It holds: a, b.``"""
    named = ", ".join(names)
    return f"It holds: {named}." if named else "It holds no folder at all."


def images_in(folder: Path, what: str) -> list[Path]:
    """The images in a folder, sorted.

    Raises:
        DataError: there is no such folder, or no image in it; ``what`` says what it should hold.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} does not exist; it should hold {what}.")
    images = [path for path in sorted(folder.iterdir()) if is_image(path)]
    if not images:
        raise DataError(f"{folder} holds no image; it should hold {what}.")
    return images


def find_mask(folder: Path, place: Path, image: Path) -> Path:
    """The mask of ``image`` in ``folder``: at ``place`` with ``_mask`` behind its name or without, in any format.

    Raises:
        DataError: there is none.
    """
    parent = folder / place.parent
    for stem in (f"{place.name}_mask", place.name):
        for path in sorted(parent.glob(f"{escape(stem)}.*")):
            if is_image(path) and path.stem == stem:
                return path
    raise DataError(
        f"The mask of the defective image {image} is missing: neither {parent / place.name}_mask.png nor "
        f"{parent / place.name}.png (or with another extension) exists."
    )


def unused_masks(masks: Iterable[Path], used: Iterable[Path | None]) -> list[str]:
    """A sentence for each mask that belongs to no image."""
    known = set(used)
    unused = [path for path in sorted(masks) if is_image(path) and path not in known]
    return [f"The mask {path} belongs to no defective image." for path in unused]
