"""Testing a run: ``metrics.json``, ``predictions.csv``, heat maps and the report."""

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cpr_lightning.data.images import read_image
from cpr_lightning.data.samples import Sample, Samples
from cpr_lightning.evaluation.curves import Curves, image_curves, pixel_curves
from cpr_lightning.evaluation.inference import Scored, score_images
from cpr_lightning.evaluation.metrics import Metrics, evaluate
from cpr_lightning.evaluation.report import ReportRow, write_report
from cpr_lightning.files import read_json, write_json
from cpr_lightning.predictions import Prediction, predict, unique, write_predictions
from cpr_lightning.runs import Run
from cpr_lightning.visual.overlay import panel, write_png

log = logging.getLogger(__name__)


def score_samples(run: Run, paths: Sequence[Path], device: torch.device, description: str) -> Scored:
    """Score image files at the run's size."""
    size = run.settings.image_size
    return score_images(
        run.cascade,
        len(paths),
        lambda number: read_image(paths[number], size),
        device=device,
        description=description,
    )


def evaluate_run(run: Run, samples: Samples, output: Path, device: torch.device, *, skipped: int = 0) -> dict[str, Any]:
    """Score the test images once and write all results to ``output``.

    Args:
        run: trained.
        samples: the category.
        output: usually the run's own folder.
        device: to compute on.
        skipped: images that were left out because they cannot be read.

    Returns:
        The content of ``metrics.json``; a metric that is undefined (no mask, one class only) is None.
    """
    facts = _facts(run, samples, skipped)
    if not samples.test:
        log.warning("There are no test images: the run can predict, but it has no metrics.")
        figures: dict[str, Any] = dict.fromkeys(Metrics.__dataclass_fields__)
        write_json(output / "metrics.json", figures | facts)
        return figures | facts
    started = time.perf_counter()
    scored = score_samples(run, [sample.image for sample in samples.test], device, "Testing")
    seconds = time.perf_counter() - started
    measured, curves = _measure(samples.test, scored, run.settings.image_size)
    write_json(output / "curves.json", curves)
    figures = {name: None if math.isnan(value) else value for name, value in measured.as_dict().items()}
    figures |= facts | {"seconds_per_test_image": seconds / len(samples.test)}
    predictions = predict(run, [sample.image for sample in samples.test], scored, [s.label for s in samples.test])
    write_predictions(output / "predictions.csv", predictions, run.calibration.threshold)
    names = unique([sample.name for sample in samples.test])
    masks = [_mask(sample, None) for sample in samples.test]
    write_heatmaps(run, predictions, scored.maps, names, masks, output)
    report(run, predictions, names, measured.as_dict(), figures, output)
    # Last, because a run counts as finished when its metrics are there.
    write_json(output / "metrics.json", figures)
    return figures


def write_heatmaps(
    run: Run,
    predictions: Sequence[Prediction],
    maps: NDArray[np.float32],
    names: Sequence[str],
    masks: Sequence[NDArray[np.bool_] | None],
    output: Path,
) -> None:
    """``heatmaps/<name>.png`` for every image, all on the one colour scale of the category."""
    for prediction, anomaly_map, name, mask in zip(predictions, maps, names, masks, strict=True):
        verdict = "anomalous" if prediction.is_anomalous else "good"
        caption = f"{name}  score {prediction.score:.1f} / {run.calibration.threshold:.1f}: {verdict}"
        picture = panel(read_image(prediction.path), anomaly_map, mask, run.calibration.scale, caption)
        write_png(output / "heatmaps" / f"{name}.png", picture)


def report(
    run: Run,
    predictions: Sequence[Prediction],
    names: Sequence[str],
    metrics: dict[str, float],
    facts: dict[str, Any],
    output: Path,
) -> None:
    """``report.html``: one page about the run."""
    rows = [
        ReportRow(
            name,
            f"heatmaps/{name}.png",
            item.label,
            item.score,
            item.is_anomalous,
            [Path(p).name for p in item.neighbors],
        )
        for name, item in zip(names, predictions, strict=True)
    ]
    others = {key: value for key, value in facts.items() if key not in metrics and value is not None}
    shown = {key: f"{value:.3g}" if isinstance(value, float) else str(value) for key, value in others.items()}
    write_report(
        output / "report.html",
        title=f"{run.settings.dataset.name} / {run.settings.category} / {run.settings.variant}",
        facts=shown | {"run": str(run.folder)},
        metrics=metrics,
        rows=rows,
        threshold=run.calibration.threshold,
    )


def _measure(test: list[Sample], scored: Scored, size: int) -> tuple[Metrics, Curves]:
    masks = [_mask(sample, size) for sample in test]
    labels = np.array([sample.label for sample in test])
    if any(mask is None for mask in masks):
        # Without masks only the image metric has a meaning.
        whole = np.zeros((len(test), 1, 1), dtype=bool)
        measured = evaluate(np.zeros((len(test), 1, 1), np.float32), whole, scored.scores, labels)
        return Metrics(measured.image_auroc, math.nan, math.nan, math.nan), image_curves(scored.scores, labels)
    stacked = np.stack([mask for mask in masks if mask is not None])
    vanished = [sample.name for sample, mask in zip(test, stacked, strict=True) if sample.label and not mask.any()]
    if vanished:
        log.warning(
            "At %d×%d pixels the masks of %d defective images are empty (%s): they count as defective, but no pixel of "
            "theirs does.", size, size, len(vanished), ", ".join(vanished[:5]),
        )  # fmt: skip
    measured = evaluate(scored.maps, stacked, scored.scores, labels)
    return measured, image_curves(scored.scores, labels) | pixel_curves(scored.maps, stacked)


def _mask(sample: Sample, size: int | None) -> NDArray[np.bool_] | None:
    if sample.mask is not None:
        return sample.read_mask(size)
    if sample.label:
        return None
    side = size or 1
    return np.zeros((side, side), dtype=bool)


def _facts(run: Run, samples: Samples, skipped: int) -> dict[str, Any]:
    settings = run.settings
    return {
        "dataset": settings.dataset.name,
        "category": settings.category,
        "kind": samples.kind.value,
        "variant": settings.variant,
        "ablation": settings.ablation,
        "scenario": settings.scenario.value,
        "backbone": settings.backbone.name,
        "backbone_weights": settings.backbone.weights,
        "seed": settings.seed,
        "n_reference": len(run.references),
        "n_test": len(samples.test),
        "n_skipped": skipped,
    } | read_json(run.folder / "training.json")
