"""Verdicts on images, and the table of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cpr_lightning.evaluation.inference import Scored
from cpr_lightning.files import write_csv
from cpr_lightning.runs import Run


@dataclass(frozen=True)
class Prediction:
    """What the run says of one image."""

    path: Path
    label: int | None
    score: float
    is_anomalous: bool
    neighbors: list[str]


def predict(run: Run, paths: Sequence[Path], scored: Scored, labels: Sequence[int] | None = None) -> list[Prediction]:
    """Scores → verdicts, with the references that each image was compared with."""
    return [
        Prediction(
            path,
            None if labels is None else labels[number],
            float(scored.scores[number]),
            bool(scored.scores[number] > run.calibration.threshold),
            [run.references[row] for row in scored.neighbors[number]],
        )
        for number, path in enumerate(paths)
    ]


def write_predictions(path: Path, predictions: Sequence[Prediction], threshold: float) -> None:
    """``path,label,score,threshold,is_anomalous,neighbor_1..K``; the label is empty where it is unknown.

    There are no columns for neighbors where none are targeted: see ``retrieval.search``.
    """
    neighbors = len(predictions[0].neighbors)
    header = ["path", "label", "score", "threshold", "is_anomalous"]
    header += [f"neighbor_{rank}" for rank in range(1, neighbors + 1)]
    rows = [
        [
            str(item.path),
            "" if item.label is None else str(item.label),
            repr(item.score),
            repr(threshold),
            str(int(item.is_anomalous)),
            *item.neighbors,
        ]
        for item in predictions
    ]
    write_csv(path, header, rows)


def unique(names: Sequence[str]) -> list[str]:
    """Names with a number behind those that occurred before: ``a/1``, ``a/1_2``. No picture may replace another."""
    seen: dict[str, int] = {}
    numbered = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        numbered.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return numbered
