"""What a page shows of one run when it is opened: curves, scores, images, figures."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cpr_lightning.errors import RunError, first_line
from cpr_lightning.reporting.page_curves import Curves, read_curves
from cpr_lightning.reporting.page_images import TestImage, read_images, worst_and_best
from cpr_lightning.reporting.page_pictures import Pictures
from cpr_lightning.reporting.records import Record

SHOWN = 4  # of the worst images, and of the best
_NEIGHBORS = 6  # shown of an image
_HEATMAP, _FOREGROUND, _NEIGHBOR = 640, 640, 80  # widths in pixels


@dataclass(frozen=True)
class Opened:
    """A run with all that the page shows of it.

    Attributes:
        notes: sentences about files that could not be read.
    """

    record: Record
    curves: Curves
    images: list[TestImage]
    worst: list[TestImage]
    best: list[TestImage]
    notes: list[str] = field(default_factory=list)

    def figures(self) -> list[Path]:
        """The sheets that ``cpr figure`` has drawn of it."""
        return sorted((self.record.folder / "figures").glob("*.png"))

    def foreground(self) -> list[Path]:
        """The sheet of foreground maps, if it was drawn: of all sheets the one that the test images do not show."""
        return [path for path in self.figures() if path.stem == "foreground"]


def open_run(record: Record) -> Opened:
    """Read a run's files; what is damaged is left out with a note."""
    notes: list[str] = []
    curves: Curves = {}
    images: list[TestImage] = []
    try:
        curves = read_curves(record.folder)
    except RunError as error:
        notes.append(first_line(error))
    try:
        images = read_images(record.folder)
    except RunError as error:
        notes.append(first_line(error))
    return Opened(record, curves, images, *worst_and_best(images, SHOWN), notes)


def fill(pictures: Pictures, runs: Sequence[Opened]) -> None:
    """Take the pictures in while there is room: the most telling one of every run first, then the next of every run."""
    for turn in zip_longest(*(_wanted(run) for run in runs)):
        for wanted in turn:
            for path, width in wanted or ():
                pictures.add(path, width)


def describe(run: Opened, pictures: Pictures, page: Path) -> dict[str, Any]:
    """What the page's script needs to show a run.

    Args:
        run: its pictures have been taken in.
        pictures: of the page.
        page: folder of the page, from which links lead to the run.
    """
    of_run = run.record.folder / "report.html"
    return {
        "curves": run.curves,
        "threshold": run.images[0].threshold if run.images else None,
        "scores": {
            kind: [float(f"{image.score:.5g}") for image in run.images if image.label == label]
            for kind, label in (("good", 0), ("defective", 1), ("unknown", None))
        },
        "worst": [_image(image, pictures, page) for image in run.worst],
        "best": [_image(image, pictures, page) for image in run.best],
        "foreground": [
            {"link": link(path, page), "picture": pictures.add(path, _FOREGROUND)} for path in run.foreground()
        ],
        "figures": [{"name": path.name, "link": link(path, page)} for path in run.figures()],
        "report": link(of_run, page) if of_run.is_file() else None,
        "notes": run.notes,
    }


def link(path: Path, page: Path) -> str:
    """A relative address, from a page in one folder to a file elsewhere."""
    relative = os.path.relpath(path.resolve(), page.resolve())
    return quote(os.fsencode(Path(relative).as_posix()))


def _wanted(run: Opened) -> Iterator[list[tuple[Path, int]]]:
    """Pictures of a run in the order of their interest, those that belong together in one portion."""
    pairs = zip_longest(run.worst, run.best)
    first = next(pairs, (None, None))
    yield from (_with_neighbors(image) for image in first if image is not None)
    yield from ([(path, _FOREGROUND)] for path in run.foreground())
    yield from (_with_neighbors(image) for pair in pairs for image in pair if image is not None)


def _with_neighbors(image: TestImage) -> list[tuple[Path, int]]:
    heatmap = [] if image.heatmap is None else [(image.heatmap, _HEATMAP)]
    return [*heatmap, *((Path(path), _NEIGHBOR) for path in image.neighbors[:_NEIGHBORS])]


def _image(image: TestImage, pictures: Pictures, page: Path) -> dict[str, Any]:
    neighbors = [
        {"name": Path(path).name, "picture": pictures.add(Path(path), _NEIGHBOR)}
        for path in image.neighbors[:_NEIGHBORS]
    ]
    return {
        "name": image.name,
        "label": image.label,
        "score": image.score,
        "anomalous": image.is_anomalous,
        "link": None if image.heatmap is None else link(image.heatmap, page),
        "picture": None if image.heatmap is None else pictures.add(image.heatmap, _HEATMAP),
        "neighbors": neighbors,
        "of_neighbors": len(image.neighbors),
    }
