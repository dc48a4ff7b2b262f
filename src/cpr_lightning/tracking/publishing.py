"""What a finished run left in its folder, as W&B shows it: summary, test images, curves, artifacts."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cpr_lightning.data.images import read_image
from cpr_lightning.errors import DataError
from cpr_lightning.files import read_json
from cpr_lightning.reporting.page_images import TestImage, read_images, worst_and_best
from cpr_lightning.tracking.artifacts_on_disk import artifacts_on_disk
from cpr_lightning.tracking.flat import flat
from cpr_lightning.visual.sheet import fitted

if TYPE_CHECKING:
    from wandb import Image, Run

_COLUMNS = (
    "image", "label", "verdict", "mistake", "score", "threshold", "part, mask, overlay", "nearest references",
    "neighbors",
)  # fmt: skip
_NEAREST = 3  # references that are shown; the names of all are listed
_SIDE = 240  # pixels of such a picture
_FORMAT = "jpg"  # a tenth of PNG's size, in a sweep of hundreds of runs
_STAGING = "WANDB_DATA_DIR"
_MODEL = ("model.safetensors", "config.yaml", "calibration.json", "neighbors.csv", "environment.json")


def publish(run: "Run", folder: Path, *, images: int, artifacts: bool) -> None:
    """Log the results of a run.

    Args:
        run: open.
        folder: the run directory, finished.
        images: rows of the table of test images, at most: those it judges worst, then those it judges best.
        artifacts: whether to log the model and the bank, too.

    Raises:
        RunError: a file of the run is damaged.
    """
    metrics = read_json(folder / "metrics.json")
    speed = folder / "benchmark.json"
    found = flat(metrics) | (flat({"benchmark": read_json(speed)}) if speed.is_file() else {})
    shown = {name: value for name, value in found.items() if isinstance(value, int | float)}
    with _staged_in(folder / "wandb"), artifacts_on_disk(run):
        logged: dict[str, Any] = _curves(folder)
        if images and (table := _table(folder, images)) is not None:
            logged["test_images"] = table
        if logged:
            run.log(logged)
        if artifacts:
            _log_artifacts(run, folder, metrics)
    # After the last line of history, which the summary would otherwise follow.
    run.summary.update(shown)
    # `kind` is an open question in the settings, and answered by the layout.
    run.config.update({"kind": metrics.get("kind")}, allow_val_change=True)


@contextmanager
def _staged_in(folder: Path) -> Iterator[None]:
    """Keep what waits to be sent beside the rest of the run; W&B would keep it below the home folder."""
    before = os.environ.get(_STAGING)
    if before is None:
        os.environ[_STAGING] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_STAGING]


def _curves(folder: Path) -> dict[str, Any]:
    """One line plot for each curve of ``curves.json``; W&B lays those of several runs over each other."""
    import wandb

    path = folder / "curves.json"
    plots: dict[str, Any] = {}
    for name, axes in read_json(path).items() if path.is_file() else ():
        (x, across), (y, up) = axes.items()
        table = wandb.Table(columns=[x, y], data=[list(point) for point in zip(across, up, strict=True)])
        plots[f"curves/{name}"] = wandb.plot.line(table, x, y, title=name.replace("_", " "))
    return plots


def _table(folder: Path, most: int) -> Any:
    import wandb

    worst, best = worst_and_best(read_images(folder), (most + 1) // 2)
    chosen = [*worst, *best][:most]
    return wandb.Table(columns=list(_COLUMNS), data=[_row(each) for each in chosen]) if chosen else None


def _row(image: TestImage) -> list[Any]:
    label = None if image.label is None else "defective" if image.label else "good"
    mistake = None
    if image.label is not None:
        mistake = "" if bool(image.label) == image.is_anomalous else "missed" if image.label else "false alarm"
    return [
        image.name, label, "anomalous" if image.is_anomalous else "good", mistake, image.score, image.threshold,
        None if image.heatmap is None else _picture(read_image(image.heatmap)), _nearest(image),
        ", ".join(Path(path).name for path in image.neighbors),
    ]  # fmt: skip


def _nearest(image: TestImage) -> "Image | None":
    """The nearest references side by side; nothing where they have moved since."""
    tiles = []
    for path in image.neighbors[:_NEAREST]:
        try:
            picture = fitted(read_image(Path(path)), _SIDE)
        except (DataError, OSError):
            return None
        height, width = picture.shape[:2]
        tile = np.full((_SIDE, _SIDE, 3), 255, np.uint8)
        tile[:height, :width] = picture
        tiles.append(tile)
    return _picture(np.hstack(tiles)) if tiles else None


def _picture(rgb: NDArray[np.uint8]) -> "Image":
    import wandb

    return wandb.Image(rgb, file_type=_FORMAT)


def _log_artifacts(run: "Run", folder: Path, metrics: Mapping[str, Any]) -> None:
    """The model and the bank. They are read where they lie: a copy of every bank would fill the disk of a sweep."""
    import wandb

    facts = {key: value for key, value in metrics.items() if value is not None}
    model = wandb.Artifact(f"model-{run.id}", type="model", metadata=facts)
    for name in _MODEL:
        if (folder / name).is_file():
            model.add_file(str(folder / name), policy="immutable", skip_cache=True)
    index = wandb.Artifact(f"index-{run.id}", type="index", metadata=facts)
    index.add_dir(str(folder / "bank"), policy="immutable", skip_cache=True)
    for artifact in (model, index):
        run.log_artifact(artifact)
