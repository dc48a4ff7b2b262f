"""Data sets whose folders say which image is what."""

from pathlib import Path
from typing import ClassVar

from cpr_lightning.data.finding import did_you_mean, find_mask, images_in, listing, unused_masks
from cpr_lightning.data.images import is_image
from cpr_lightning.data.layout import Layout
from cpr_lightning.data.samples import Found, Sample, Samples
from cpr_lightning.data.trees import Tree, hint, sub_folders, unpacked
from cpr_lightning.errors import CategoryError, DataError


class TreeLayout(Layout):
    """Folders that say it all: a category's folder, in it folders for training and testing, and for sorts of defects.

    A category of one's own in such folders works too, when ``dataset.kind`` says what it shows.
    """

    tree: ClassVar[Tree]

    def categories(self) -> list[str]:
        """The known categories that are there; where none is, every folder with such folders in it."""
        there = {path.name: path for path in sub_folders(self._base())}
        names = [name for name in self.known if name in there]
        names = names or [name for name, path in there.items() if self._holds(path)]
        if not names:
            raise CategoryError(
                f"{self._base()} holds no category of {self.tree.title} (a folder with {self.tree.outline}). "
                f"{listing(there)}{self._hint()}"
            )
        return names

    def look(self, category: str) -> Found:
        """See :meth:`Layout.look`."""
        folder = self._folder(category)
        try:
            good = images_in(folder / self.tree.train, "the good images to learn from")
        except DataError as error:
            raise DataError(f"{error} {self._expected(folder)}") from error
        problems: list[str] = []
        remarks: list[str] = []
        validation = self._validation(folder, remarks)
        test = self._test(folder, problems, remarks)
        stems = {sample.image.stem for sample in test if not sample.label}
        masks = [
            path
            for place in folder.glob(self.tree.masks.replace("{defect}", "*"))
            for path in (place.iterdir() if place.is_dir() else [])
            # MVTec 3D-AD has black masks for good images too.
            if not (self._defect_of(place, folder) == self.tree.good and path.stem.removesuffix("_mask") in stems)
        ]
        remarks += unused_masks(masks, [sample.mask for sample in test])
        references = [Sample(path, None, 0, "good") for path in good]
        return Found(Samples(category, self.kind_of(category), references, test, validation), problems, remarks)

    def _validation(self, folder: Path, remarks: list[str]) -> list[Sample]:
        if self.tree.validation is None:
            return []
        try:
            images = images_in(folder / self.tree.validation, "the good images that thresholds come from")
        except DataError as error:
            remarks.append(f"{error} Thresholds come from training images then.")
            return []
        return [Sample(path, None, 0, "good") for path in images]

    def _test(self, folder: Path, problems: list[str], remarks: list[str]) -> list[Sample]:
        parent = folder / self.tree.test.partition("/")[0]
        if not parent.is_dir():
            raise DataError(
                f"{parent} does not exist; it should hold {self.tree.good}/ and a folder for each sort of defect. "
                f"{self._expected(folder)}"
            )
        test = []
        for name in (path.name for path in sub_folders(parent)):
            place = folder / self.tree.test.format(defect=name)
            if place == folder / self.tree.masks.partition("/{defect}")[0]:
                continue  # MVTec AD 2 keeps its masks among the test images
            if not place.is_dir():
                problems.append(f"{place} does not exist; it should hold the images of {name}.")
                continue
            images = [path for path in sorted(place.iterdir()) if is_image(path)]
            if not images:
                remarks.append(f"{place} holds no image.")
            if name == self.tree.good:
                test += [Sample(path, None, 0, "good") for path in images]
                continue
            for path in images:
                mask = None
                try:
                    mask = find_mask(folder / self.tree.masks.format(defect=name), Path(path.stem), path)
                except DataError as error:
                    problems.append(str(error))
                test.append(Sample(path, mask, 1, name, self.mask_threshold))
        return test

    def _defect_of(self, place: Path, folder: Path) -> str:
        """The sort of defect that a folder of masks is for."""
        number = Path(self.tree.masks).parts.index("{defect}")
        return place.relative_to(folder).parts[number]

    def _base(self) -> Path:
        if not self.root.is_dir():
            raise CategoryError(f"dataset.root={self.root} is not a folder. Give the folder that holds the categories.")
        return unpacked(self.root, self.tree.archive)

    def _folder(self, category: str) -> Path:
        base = self._base()
        there = [path.name for path in sub_folders(base)]
        # The name is looked up among the folders: some file systems would take it in any case of letters.
        if category not in there:
            near = did_you_mean(category, there)
            raise CategoryError(f"{base} holds no category {category}{near} {listing(there)}{self._hint()}")
        folder = base / category
        nested = folder / category  # where an archive was unpacked into a folder of its own name
        return nested if not self.tree.fits(folder) and self.tree.fits(nested) else folder

    def _holds(self, folder: Path) -> bool:
        return self.tree.fits(folder) or self.tree.fits(folder / folder.name)

    def _expected(self, folder: Path) -> str:
        there = ", ".join(path.name for path in sub_folders(folder)) or "no folder"
        return f"{self.tree.title} has {self.tree.outline} in a category; {folder} holds {there}.{self._hint()}"

    def _hint(self) -> str:
        """Whether another layout fits, if this one fits no folder."""
        base = self._base()
        fits = any(self._holds(path) for path in sub_folders(base))
        return "" if fits else hint(base, self.tree.dataset)
