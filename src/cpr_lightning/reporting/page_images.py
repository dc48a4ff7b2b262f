"""The test images of a run as it left them on the disk, and which of them a page shows."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from cpr_lightning.errors import RunError


@dataclass(frozen=True)
class TestImage:
    """A line of ``predictions.csv``.

    Attributes:
        path: of the image; it may have moved since.
        label: 0 good, 1 defective, None unknown.
        threshold: from which the run calls an image anomalous.
        neighbors: paths of the references it was compared with, nearest first.
        heatmap: its picture in the run; None where there is none.
    """

    path: Path
    label: int | None
    score: float
    threshold: float
    is_anomalous: bool
    neighbors: tuple[str, ...]
    heatmap: Path | None

    __test__ = False  # no test, for all its name

    @property
    def name(self) -> str:
        """Folder and file, which tell images of one category apart."""
        return "/".join(self.path.parts[-2:])


def read_images(folder: Path) -> list[TestImage]:
    """What ``predictions.csv`` of a run says; nothing where there is none.

    Raises:
        RunError: it is not what a run writes.
    """
    path = folder / "predictions.csv"
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        images = [Path(line["path"]) for line in lines]
        found = _heatmaps(folder / "heatmaps", images)
        made = [_image(line, heatmap) for line, heatmap in zip(lines, found, strict=True)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{path} is not what a run writes ({error!r}). Run `cpr evaluate run={folder}`.") from error
    return made


def worst_and_best(images: Sequence[TestImage], count: int) -> tuple[list[TestImage], list[TestImage]]:
    """The images that a run judges worst and best, at most ``count`` each and none twice.

    Worst are those that lie farthest on the wrong side of the threshold, or nearest to it; best are those that lie
    farthest on the right side, defective and good ones in turn. Unlabeled images have no right side: the highest
    scores stand in for the worst.
    """
    known = [image for image in images if image.label is not None]
    if not known:
        return sorted(images, key=lambda image: -image.score)[:count], []
    ranked = sorted(known, key=_margin)
    worst = ranked[: min(count, (len(ranked) + 1) // 2)]
    rest = ranked[len(worst) :][::-1]
    defective, good = ([image for image in rest if image.label == label] for label in (1, 0))
    turns = [image for pair in zip(defective, good, strict=False) for image in pair]
    left = [*defective[len(good) :], *good[len(defective) :]]
    return worst, [*turns, *left][:count]


def _margin(image: TestImage) -> float:
    """How far the score lies on the right side of the threshold."""
    return image.score - image.threshold if image.label else image.threshold - image.score


def _image(line: dict[str, str], heatmap: Path | None) -> TestImage:
    score, threshold = float(line["score"]), float(line["threshold"])
    if not (isfinite(score) and isfinite(threshold)):
        raise ValueError(f"the score of {line['path']} is not finite")
    neighbors = tuple(value for key, value in line.items() if key and key.startswith("neighbor_") and value)
    label = int(line["label"]) if line["label"] else None
    return TestImage(Path(line["path"]), label, score, threshold, line["is_anomalous"] == "1", neighbors, heatmap)


def _heatmaps(folder: Path, images: Sequence[Path]) -> list[Path | None]:
    """``heatmaps/<defect>/<stem>.png`` of each image: the defect is a folder of its path, or there is one such file."""
    there: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*/*.png")):
        there.setdefault(path.stem, []).append(path.parent.name)
    found: list[Path | None] = []
    for image in images:
        defects = there.get(image.stem, [])
        named = [part for part in reversed(image.parts[:-1]) if part in defects]
        defect = named[0] if named else defects[0] if len(defects) == 1 else None
        picture = None if defect is None else folder / defect / f"{image.stem}.png"
        found.append(None if picture in found else picture)  # of images named alike only the first has this name
    return found
