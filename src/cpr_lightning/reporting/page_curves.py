"""The curves of a training, from the CSV logger's files."""

import csv
from math import isfinite
from pathlib import Path

from cpr_lightning.errors import RunError

Curves = dict[str, list[tuple[int, float]]]
POINTS = 200  # of a curve on the page: more than it has pixels for on a telephone
_NOT_A_CURVE = ("step", "epoch")


def read_curves(folder: Path) -> Curves:
    """Name → (step, value), by step and at most ``POINTS`` of each; a training that went on has several files.

    Args:
        folder: of the run.

    Raises:
        RunError: a file is not what the logger writes.
    """
    curves: dict[str, dict[int, float]] = {}
    for path in sorted(folder.glob("training_log/version_*/metrics.csv"), key=_version):
        try:
            _read(path, curves)
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            raise RunError(f"{path} is not what the logger writes ({error!r}).") from error
    return {name: _thinned(sorted(values.items())) for name, values in curves.items()}


def _read(path: Path, curves: dict[str, dict[int, float]]) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            for name, text in line.items():
                value = float(text) if text and name not in _NOT_A_CURVE else None
                if value is not None and isfinite(value):
                    curves.setdefault(name, {})[int(line["step"])] = value


def _version(path: Path) -> tuple[int, str]:
    number = path.parent.name.removeprefix("version_")
    return (int(number) if number.isdecimal() else -1, number)


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Every n-th point, and the last."""
    every = -(-len(points) // POINTS)
    return points if every <= 1 else [*points[:-1:every], points[-1]]
