"""The best methods of a sweep, at its end."""

from collections.abc import Sequence
from statistics import mean

from rich.table import Table

from cpr_lightning.reporting.records import METRICS
from cpr_lightning.sweeps.cell import Cell, Outcome
from cpr_lightning.terminal import print_table

_HEADS = {"pixel_ap": "pixel AP", "pro": "PRO", "pixel_auroc": "pixel AUROC", "image_auroc": "image AUROC"}
_ROWS = 30


def print_leaderboard(cells: Sequence[Cell], outcomes: Sequence[Outcome]) -> None:
    """Print the methods by their mean pixel AP over categories and seeds; a method is what else a sweep goes over.

    Args:
        cells: of the sweep.
        outcomes: of those that are done.
    """
    swept = _swept(cells)
    by_number = {cell.number: cell for cell in cells}
    methods: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in outcomes:
        method = tuple(dict(_pairs(by_number[outcome.number]))[key] for key in swept)
        methods.setdefault(method, []).append(outcome)
    ranked = sorted(methods.items(), key=lambda item: _key(item[1]), reverse=True)
    table = Table(title="Means over categories and seeds")
    for key in swept or ["method"]:
        table.add_column(key, overflow="fold")
    for metric in METRICS:
        table.add_column(_HEADS[metric], justify="right", min_width=6)  # 0.1234
    table.add_column("cells", justify="right")
    for method, those in ranked[:_ROWS]:
        numbers = [_mean(those, metric) for metric in METRICS]
        shown = ["–" if value is None else f"{value:.4f}" for value in numbers]
        table.add_row(*(method or ("all",)), *shown, str(len(those)))
    print_table(table)
    if len(ranked) > _ROWS:
        print(f"… and {len(ranked) - _ROWS} more methods")


def _swept(cells: Sequence[Cell]) -> list[str]:
    """The keys in which cells differ, without those that are averaged over."""
    values: dict[str, set[str]] = {}
    for cell in cells:
        for key, value in _pairs(cell):
            values.setdefault(key, set()).add(value)
    return [key for key, found in values.items() if len(found) > 1 and key not in ("category", "seed")]


def _pairs(cell: Cell) -> list[tuple[str, str]]:
    return [(word.partition("=")[0], word.partition("=")[2]) for word in cell.words]


def _mean(outcomes: Sequence[Outcome], metric: str) -> float | None:
    values = [each.metrics[metric] for each in outcomes if each.metrics.get(metric) is not None]
    return mean(values) if values else None


def _key(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    found = [_mean(outcomes, metric) for metric in ("pixel_ap", "image_auroc")]
    return (-1.0 if found[0] is None else found[0], -1.0 if found[1] is None else found[1])
