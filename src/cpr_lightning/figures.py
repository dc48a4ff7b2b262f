"""Pictures of what a run sees: its score maps, the references it retrieves, and what it takes for the product."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from cpr_lightning.choices import Figure
from cpr_lightning.data.images import read_image
from cpr_lightning.data.samples import Sample
from cpr_lightning.errors import RunError
from cpr_lightning.results import score_samples
from cpr_lightning.runs import Run
from cpr_lightning.visual.overlay import heat_colours, outlined, overlay
from cpr_lightning.visual.sheet import Tile, compose_sheet, fitted

_SIDE = 200  # pixels of a picture on a sheet
_SIDE_OF_NEIGHBORS = 150
_NEIGHBORS_SHOWN = 10  # a sheet with more would be too wide


class Query(NamedTuple):
    """An image to show."""

    path: Path
    name: str
    mask: NDArray[np.bool_] | None  # (H, W) true on its defect, all false for a good image; None: unknown


def choose_queries(test: Sequence[Sample], count: int) -> list[Query]:
    """At most ``count`` test images, as evenly over the sorts of defects as there are images; good ones are a sort."""
    sorts: dict[str, list[Sample]] = {}
    for sample in sorted(test, key=lambda sample: (not sample.label, sample.name)):
        sorts.setdefault(sample.defect, []).append(sample)
    wanted = dict.fromkeys(sorts, 0)
    for _ in range(min(count, len(test))):
        left = [name for name in sorts if wanted[name] < len(sorts[name])]
        wanted[min(left, key=lambda name: wanted[name])] += 1
    return [as_query(sample) for name, samples in sorts.items() for sample in samples[: wanted[name]]]


def as_query(sample: Sample) -> Query:
    """A test image with what is known of its defect."""
    mask = sample.read_mask() if sample.label else np.zeros((1, 1), dtype=bool)
    return Query(sample.image, sample.name, mask)


def draw_figure(figure: Figure, run: Run, queries: Sequence[Query], device: torch.device) -> NDArray[np.uint8]:
    """A sheet with a row for each image.

    Args:
        figure: ``maps``, ``neighbors`` or ``foreground``.
        run: trained, on ``device``.
        queries: at least one.
        device: to compute on.

    Returns:
        (rows, columns, 3) uint8 RGB.

    Raises:
        RunError: the run has nothing of the kind.
        DataError: an image cannot be read.
    """
    draw = {Figure.maps: _maps, Figure.neighbors: _neighbors, Figure.foreground: _foreground}[figure]
    return draw(run, queries, device)


def _maps(run: Run, queries: Sequence[Query], device: torch.device) -> NDArray[np.uint8]:
    """Image, true defect, score map, and the map on the image; one scale for all."""
    scored = score_samples(run, [query.path for query in queries], device, "Scoring")
    scale, threshold = run.calibration.scale, run.calibration.threshold
    rows = []
    for query, anomaly_map, score in zip(queries, scored.maps, scored.scores, strict=True):
        image = fitted(read_image(query.path), _SIDE)
        heated = overlay(image, anomaly_map, scale)
        verdict = "anomalous" if score > threshold else "good"
        rows.append(
            [
                Tile(image, query.name),
                Tile(None, "unknown") if query.mask is None else Tile(_grey(query.mask, image)),
                Tile(heat_colours(scale.place(_like(anomaly_map, image))), f"score {score:.1f}"),
                Tile(heated if query.mask is None else outlined(heated, query.mask), verdict),
            ]
        )
    title = f"{_name(run)}: all maps on one scale, dark {scale.low:.2g} to red {scale.high:.2g}"
    return compose_sheet(title, ["image", "ground truth", "score map", "both"], rows, _SIDE)


def _neighbors(run: Run, queries: Sequence[Query], device: torch.device) -> NDArray[np.uint8]:
    """Image and its K nearest references."""
    scored = score_samples(run, [query.path for query in queries], device, "Retrieving")
    found = scored.neighbors.shape[1]
    if not found:
        raise RunError(
            f"The run in {run.folder} targets no references (its ablation is {run.settings.ablation}), so there are "
            "none to show. Take a run with ablation=full."
        )
    shown = min(found, _NEIGHBORS_SHOWN)
    rows = []
    for query, neighbors in zip(queries, scored.neighbors[:, :shown], strict=True):
        image = fitted(read_image(query.path), _SIDE_OF_NEIGHBORS)
        references = [Path(run.references[row]) for row in neighbors]
        tiles = [Tile(read_image(path), path.stem) for path in references]
        rows.append([Tile(image if query.mask is None else outlined(image, query.mask), query.name), *tiles])
    headings = ["query", "nearest", *(str(rank) for rank in range(2, shown + 1))]
    first = "" if shown == found else f"first {shown} of the "
    title = f"{_name(run)}: the {first}{found} references that each image is matched with"
    return compose_sheet(title, headings, rows, _SIDE_OF_NEIGHBORS)


def _foreground(run: Run, queries: Sequence[Query], device: torch.device) -> NDArray[np.uint8]:
    """Image, its foreground, the joint foreground F* (eq. 13) that its scores are multiplied with, and what is left."""
    if run.cascade.network.foreground is None:
        raise RunError(f"The run in {run.folder} has no foreground branch: it is of a texture, or was trained without.")
    rows = []
    for query, own, joint in zip(queries, *_foreground_maps(run, queries, device), strict=True):
        image = fitted(read_image(query.path), _SIDE)
        weight = _like(joint, image)[..., None]
        left = np.rint(image * weight).astype(np.uint8)
        rows.append([Tile(image, query.name), Tile(_grey(own, image)), Tile(_grey(joint, image)), Tile(left)])
    headings = ["image", "its own foreground", "with its references'", "what is scored"]
    return compose_sheet(f"{_name(run)}: white is product", headings, rows, _SIDE)


@torch.inference_mode()
def _foreground_maps(
    run: Run, queries: Sequence[Query], device: torch.device
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Of each image its own map and the joint one, (H, W) in [0, 1]; one image at a time."""
    own: list[NDArray[np.float32]] = []
    joint: list[NDArray[np.float32]] = []
    for query in queries:
        image = torch.from_numpy(read_image(query.path, run.settings.image_size)).unsqueeze(0).to(device)
        described = run.cascade.network.named(run.cascade.run_network(image))
        rows = run.cascade.consulted(described.codes)
        for maps, references in ((own, rows[:, :0]), (joint, rows)):
            foreground = run.cascade.joint_foreground(described.foreground, references, image.shape[1:3])
            assert foreground is not None
            maps.append(foreground[0].float().cpu().numpy())
    return own, joint


def _like(values: NDArray[np.floating], image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A map (h, w) at the size of an image."""
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_LINEAR), np.float32)


def _grey(values: NDArray[np.generic], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A map (h, w) in [0, 1] as a grey picture of an image's size."""
    grey = np.rint(_like(values.astype(np.float32), image).clip(0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _name(run: Run) -> str:
    settings = run.settings
    parts = [settings.dataset.name, settings.category, settings.variant]
    return " / ".join([*parts, settings.ablation] if settings.ablation != "full" else parts)
