"""Accuracy against speed: the runs below a folder beside the published methods of Table VIII."""

from pathlib import Path

from cpr_lightning.errors import RunError
from cpr_lightning.reporting import published
from cpr_lightning.reporting.cells import RATE, Table
from cpr_lightning.reporting.collect import collect
from cpr_lightning.reporting.grouping import group_records
from cpr_lightning.reporting.method_tables import variant_table
from cpr_lightning.reporting.published import SPEED, SPEED_TENSORRT
from cpr_lightning.reporting.rows import TOTAL_AVERAGE
from cpr_lightning.visual.scatter import Point, Sort, draw_scatter

_MVTEC = ("mvtec", "unsupervised")  # what the published points are about


def draw_speed(runs: Path, metric: str, output: Path) -> None:
    """Write the figure.

    Args:
        runs: a folder with benchmarked runs, looked through to the bottom. A point is what `cpr report` has in a row.
        metric: one of ``reporting.records.METRICS``.
        output: the PNG.

    Raises:
        RunError: there is no run, none was benchmarked, or matplotlib is not installed.
        OSError: the file cannot be written.
    """
    groups = group_records(collect(runs).records)
    tables = [table for group in groups if (table := variant_table(group, all_methods=False)) is not None]
    points = [point for table in tables for point in _measured(table, metric)]
    if not points:
        raise RunError(
            f"None of the runs below {runs} has both a speed and a {metric}. Measure the speed of a run with "
            "`cpr benchmark run=RUN_DIR`, or train with experiment=table8."
        )
    name = next(column.title for column in tables[0].columns if column.key == metric)
    notes = [f"{table.group}: {note}" for table in tables for note in table.notes if note.startswith(RATE)]
    notes.append(f"Published points are of MVTec AD, on {published.MACHINE} ({published.PAPER}, Table VIII).")
    draw_scatter([*_published(metric), *points], accuracy=name, notes=notes, path=output)


def _measured(table: Table, metric: str) -> list[Point]:
    """The rows that have both numbers. An average over fewer categories than there should be says so."""
    points = []
    for row in table.rows:
        accuracy = row.cells[metric].measured if metric in row.cells else None
        for speed, suffix in ((SPEED, ""), (SPEED_TENSORRT, ", TensorRT")):
            rate = row.cells[speed].measured if speed in row.cells else None
            if accuracy is not None and rate is not None:
                share = "" if accuracy.complete else f" ({accuracy.categories}/{accuracy.of} categories)"
                points.append(Point(row.labels[0] + suffix + share, rate.mean, accuracy.mean, Sort.measured))
    return points


def _published(metric: str) -> list[Point]:
    points = []
    for name, figures in published.speed_figures(*_MVTEC).items():
        own = name.startswith(published.OWN)
        speeds = {Sort.own if own else Sort.other: SPEED, Sort.own_tensorrt: SPEED_TENSORRT}
        for sort, speed in speeds.items():
            rate, accuracy = figures.get((TOTAL_AVERAGE, speed)), figures.get((TOTAL_AVERAGE, metric))
            if rate is not None and accuracy is not None:
                points.append(Point("" if sort is Sort.own_tensorrt else name, rate, accuracy, sort))
    return points
