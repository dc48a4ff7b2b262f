"""Methods as points: how fast against how accurate."""

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from cpr_lightning.errors import RunError
from cpr_lightning.files import replaced

_FAR_LEFT, _FAR_RIGHT = 0.6, 2.2  # of the slowest and the fastest: room for a label beside each point
_OWN, _OTHER = "#d1495b", "#8d99ae"


class Sort(Enum):
    """How a point is drawn, and what the legend says."""

    other = "published, other methods"
    own = "published, CPR"
    own_tensorrt = "published, CPR with TensorRT"
    measured = "measured"


_MARKERS: dict[Sort, dict[str, Any]] = {
    Sort.other: {"marker": "o", "s": 36, "color": _OTHER},
    Sort.own: {"marker": "o", "s": 36, "color": _OWN},
    Sort.own_tensorrt: {"marker": "o", "s": 36, "facecolors": "white", "edgecolors": _OWN},
    Sort.measured: {"marker": "*", "s": 140, "color": _OWN, "zorder": 3},
}


class Point(NamedTuple):
    """A method; without a label where the point beside it has one."""

    label: str
    images_per_second: float
    accuracy: float  # percent
    sort: Sort


def draw_scatter(points: Sequence[Point], *, accuracy: str, notes: Sequence[str], path: Path) -> None:
    """Write a PNG; speed on a logarithmic scale.

    Args:
        points: at least one.
        accuracy: name of the accuracy.
        notes: sentences below the plot: what was measured on what.
        path: the file.

    Raises:
        RunError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure  # not pyplot, which keeps state in the process
    except ImportError as error:
        raise RunError(
            'This figure is drawn with matplotlib, which is not installed: pip install "cpr-lightning[figures]".'
        ) from error
    figure = Figure(figsize=(7.2, 5), layout="constrained")
    axes = figure.subplots()
    for sort, drawn in _MARKERS.items():
        chosen = [point for point in points if point.sort is sort]
        if chosen:
            places = [(point.images_per_second, point.accuracy) for point in chosen]
            axes.scatter(*zip(*places, strict=True), label=sort.value, **drawn)
    for point in points:
        axes.annotate(
            point.label,
            (point.images_per_second, point.accuracy),
            xytext=(4, 6),
            textcoords="offset points",
            fontsize=8,
            color="#6c757d" if point.sort is Sort.other else "#22223b",
            fontweight="bold" if point.sort is Sort.measured else "normal",
        )
    speeds = [point.images_per_second for point in points]
    axes.set(xscale="log", xlabel="images per second", ylabel=f"{accuracy} (%)", title="accuracy against speed")
    axes.set_xlim(min(speeds) * _FAR_LEFT, max(speeds) * _FAR_RIGHT)
    axes.margins(y=0.08)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    figure.supxlabel("\n".join(notes), fontsize=7, color="#6c757d", wrap=True)
    with replaced(path) as temporary:
        figure.savefig(temporary, dpi=150)
