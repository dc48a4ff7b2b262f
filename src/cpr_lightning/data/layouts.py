"""Where a data set keeps its images: one class per layout on disk, all giving the same :class:`Samples`."""

from dataclasses import dataclass
from difflib import get_close_matches
from glob import escape
from pathlib import Path

from cpr_lightning.data.images import is_image
from cpr_lightning.data.tiny import TINY_CATEGORIES, write_tiny
from cpr_lightning.errors import DataError, SettingsError
from cpr_lightning.settings import Kind

MVTEC_CATEGORIES = {
    **dict.fromkeys(
        [
            "bottle",
            "cable",
            "capsule",
            "hazelnut",
            "metal_nut",
            "pill",
            "screw",
            "toothbrush",
            "transistor",
            "zipper",
        ],
        Kind.object,
    ),
    **dict.fromkeys(["carpet", "grid", "leather", "tile", "wood"], Kind.texture),
}


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
        image: its file.
        mask: the file of its defect mask; None for a good image, or where none was given.
        label: 1 if defective, from the folder (a mask can vanish when it is resized).
        defect: name of the defect, ``good`` if there is none.
    """

    image: Path
    mask: Path | None
    label: int
    defect: str

    @property
    def name(self) -> str:
        """How the image is called in files: ``<defect>/<stem>``."""
        return f"{self.defect}/{self.image.stem}"


@dataclass(frozen=True)
class Samples:
    """A category: the references to learn from, and what to test with."""

    category: str
    kind: Kind
    references: list[Sample]
    test: list[Sample]


class MvtecLayout:
    """``<root>/<category>/{train/good, test/<defect>, ground_truth/<defect>/<stem>_mask}``, as MVTec AD has it.

    A category of one's own in this layout works too, when ``dataset.kind`` says what it shows.
    """

    known = MVTEC_CATEGORIES

    def __init__(self, root: str, kind: Kind | None = None, **others: object) -> None:
        del others  # keys that all data sets share, and this one has no use for
        self.root = Path(root).expanduser()
        self.kind = kind

    def samples(self, category: str) -> Samples:
        """All images of a category.

        Raises:
            DataError: the root, the category or its images are missing (says what is there), or a mask is missing.
            SettingsError: the kind of an unknown category was not given.
        """
        folder = _category_folder(self.root, category)
        kind = self.kind or self.known.get(category)
        if kind is None:
            raise SettingsError(
                f"{category} is not a known category ({', '.join(sorted(self.known))}); "
                "say what it shows with dataset.kind=object or dataset.kind=texture."
            )
        good = folder / "train" / "good"
        references = [Sample(path, None, 0, "good") for path in _images_in(good, "the good images to learn from")]
        test_folder = folder / "test"
        if not test_folder.is_dir():
            raise DataError(f"{test_folder} does not exist; it should hold good/ and a folder for each sort of defect.")
        test = []
        for defect in sorted(path for path in test_folder.iterdir() if path.is_dir()):
            for image in filter(is_image, sorted(defect.iterdir())):
                if defect.name == "good":
                    test.append(Sample(image, None, 0, "good"))
                else:
                    mask = find_mask(folder / "ground_truth" / defect.name, Path(image.stem), image)
                    test.append(Sample(image, mask, 1, defect.name))
        return Samples(category, kind, references, test)


class TinyLayout(MvtecLayout):
    """The generated data set of ``cpr tiny``; written to ``root`` when it is not there yet."""

    known = {name: Kind(kind) for name, kind in TINY_CATEGORIES.items()}  # noqa: RUF012

    def samples(self, category: str) -> Samples:
        """All images of a category; see :meth:`MvtecLayout.samples`."""
        if not any((self.root / name).is_dir() for name in self.known):
            write_tiny(self.root)
        return super().samples(category)


def _category_folder(root: Path, category: str) -> Path:
    if not root.is_dir():
        raise DataError(f"dataset.root={root} is not a folder. Give the folder that holds the categories.")
    folder = root / category
    if folder.is_dir():
        return folder
    there = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    near = get_close_matches(category, there, n=1)
    raise DataError(
        f"{root} holds no category {category}"
        + (f"; did you mean {near[0]}?" if near else ".")
        + (f" It holds: {', '.join(there)}." if there else " It holds no folder at all.")
    )


def _images_in(folder: Path, what: str) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} does not exist; it should hold {what}.")
    images = [path for path in sorted(folder.iterdir()) if is_image(path)]
    if not images:
        raise DataError(f"{folder} holds no image; it should hold {what}.")
    return images


def find_mask(folder: Path, place: Path, image: Path) -> Path:
    """The mask of ``image`` in ``folder``: at ``place`` with ``_mask`` behind its name or without, in any format."""
    parent = folder / place.parent
    for stem in (f"{place.name}_mask", place.name):
        for path in sorted(parent.glob(f"{escape(stem)}.*")):
            if is_image(path) and path.stem == stem:
                return path
    raise DataError(
        f"The mask of the defective image {image} is missing: neither {parent / place.name}_mask.png nor "
        f"{parent / place.name}.png (or with another extension) exists."
    )
