"""Data sets whose folders say it all: where each keeps its images, and which of them a folder looks like."""

from dataclasses import dataclass
from pathlib import Path

from cpr_lightning.data.images import is_image


@dataclass(frozen=True)
class Tree:
    """Folders of a category; ``{defect}`` stands for the name of a sort of defect, or of ``good``.

    Attributes:
        title: what people call the data set.
        dataset: what ``dataset=`` calls it.
        archive: the folder that its archive unpacks to; the root may be that folder or the one around it.
        train: good images to learn from.
        test: images to test with.
        masks: their defect masks.
        validation: good images for thresholds, where the data set has some.
        good: what the data set calls good images.
    """

    title: str
    dataset: str
    archive: str
    train: str
    test: str
    masks: str
    validation: str | None = None
    good: str = "good"

    @property
    def outline(self) -> str:
        """Its folders, for messages."""
        listed = [self.train, *([self.validation] if self.validation else []), self.test, self.masks]
        return ", ".join(place.replace("{defect}", "<defect>") for place in listed)

    def fits(self, folder: Path) -> bool:
        """Whether a folder looks like a category: there are good images to learn from, and a place for test images."""
        return holds_image(folder / self.train) and (folder / self.test.partition("/")[0]).is_dir()


MVTEC = Tree(
    "MVTec AD", "mvtec", "mvtec_anomaly_detection", "train/good", "test/{defect}", "ground_truth/{defect}"
)  # fmt: skip
MVTEC3D = Tree(
    "MVTec 3D-AD",
    "mvtec3d",
    "mvtec_3d_anomaly_detection",
    "train/good/rgb",
    "test/{defect}/rgb",
    "test/{defect}/gt",
    validation="validation/good/rgb",
)
BTAD = Tree(
    "BTAD",
    "btad",
    "BTech_Dataset_transformed",
    "train/ok",
    "test/{defect}",
    "ground_truth/{defect}",
    good="ok",
)
MVTEC_AD2 = Tree(
    "MVTec AD 2",
    "mvtec_ad2",
    "mvtec_ad_2",
    "train/good",
    "test_public/{defect}",
    "test_public/ground_truth/{defect}",
    validation="validation/good",
)
TREES = (MVTEC, MVTEC3D, BTAD, MVTEC_AD2)

VISA_TABLE = Path("split_csv") / "1cls.csv"
VISA_ARCHIVE = "VisA_20220922"


def holds_image(folder: Path) -> bool:
    """Whether there is an image in the folder itself."""
    return folder.is_dir() and any(is_image(path) for path in folder.iterdir())


def sub_folders(folder: Path) -> list[Path]:
    """Folders in a folder, sorted, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def unpacked(root: Path, archive: str) -> Path:
    """The folder with the categories: ``root``, or the folder in it that the data set's archive unpacks to."""
    return root / archive if (root / archive).is_dir() else root


def hint(root: Path, dataset: str) -> str:
    """What a root that is not ``dataset``'s looks like instead, as a sentence with a blank before it, or nothing."""
    for tree in TREES:
        if tree.fits(root):
            return f" dataset.root={root} is itself a category, as {tree.title} has them; give the folder around it" + (
                "." if tree.dataset == dataset else f", and dataset={tree.dataset}."
            )
    for other in (root, root / VISA_ARCHIVE):
        if (other / VISA_TABLE).is_file() and dataset != "visa":
            return " This looks like VisA; use dataset=visa."
    for tree in TREES:
        if tree.dataset == dataset:
            continue
        folder = unpacked(root, tree.archive)
        if any(tree.fits(path) for path in sub_folders(folder)):
            return f" This looks like {tree.title} ({tree.outline}); use dataset={tree.dataset}."
    return ""
