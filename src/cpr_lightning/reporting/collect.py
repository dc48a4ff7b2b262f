"""Every finished run below a folder."""

import os
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from cpr_lightning.errors import RunError, first_line
from cpr_lightning.reporting.compared import read_config
from cpr_lightning.reporting.records import Record, read_record
from cpr_lightning.reporting.speeds import Speed, read_speed

_BEGUN = {"config.yaml", "environment.json"}  # what a run writes before its metrics


class Skipped(NamedTuple):
    """A folder or file that is not counted, and why."""

    path: Path
    reason: str


class Replaced(NamedTuple):
    """A run that does not count, because a newer one has the same settings, category and seed."""

    older: Record
    newer: Record


@dataclass(frozen=True)
class Collected:
    """What was found: each cell (method, category, seed) once."""

    records: list[Record] = field(default_factory=list)
    replaced: list[Replaced] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def collect(folder: Path, ignore: Collection[str] = ()) -> Collected:
    """Read every finished run below ``folder``; what is no finished run is named with the reason.

    Args:
        folder: looked through to the bottom, without hidden folders.
        ignore: settings in which runs of one method may differ.

    Raises:
        RunError: there is no such folder, or no finished run in it.
    """
    if not folder.is_dir():
        raise RunError(
            f"runs={folder} is not a folder. Give the folder that holds the runs, such as outputs or multirun."
        )
    found: list[Record] = []
    skipped: list[Skipped] = []
    unreadable = lambda error: skipped.append(Skipped(Path(error.filename), error.strerror))  # noqa: E731
    for where, folders, files in os.walk(folder, onerror=unreadable):
        begun = _BEGUN & {*files} or ".hydra" in folders
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if "metrics.json" in files:
            record = _read(Path(where), skipped)
            if record is not None:
                kept = {key: value for key, value in record.settings.items() if key not in ignore}
                found.append(replace(record, settings=kept))
        elif begun:
            skipped.append(Skipped(Path(where), "it has no metrics.json: a run that is not finished, or failed"))
    if not found:
        others = f" {len(skipped)} were skipped; the first is {skipped[0].path}: {skipped[0].reason}" if skipped else ""
        raise RunError(f"runs={folder} holds no finished run (a folder with metrics.json).{others}")
    return _newest(found, skipped)


def _read(folder: Path, skipped: list[Skipped]) -> Record | None:
    """The record of a run; None, and an entry in ``skipped``, where it cannot be used."""
    try:
        config = read_config(folder)
        speed: Speed | None = None
        try:
            speed = read_speed(folder, config)
        except (RunError, OSError) as error:  # its metrics count all the same
            skipped.append(Skipped(folder / "benchmark.json", first_line(error)))
        return read_record(folder, config, speed)
    except (RunError, OSError) as error:
        skipped.append(Skipped(folder, first_line(error)))
        return None


def _newest(found: list[Record], skipped: list[Skipped]) -> Collected:
    cells: dict[tuple[object, ...], Record] = {}
    older: list[tuple[tuple[object, ...], Record]] = []
    for record in sorted(found, key=lambda record: (record.written, str(record.folder))):
        cell = (
            *(record.dataset, record.scenario, record.variant, record.ablation, record.category, record.seed),
            frozenset(record.settings.items()),
        )
        if cell in cells:
            older.append((cell, cells[cell]))
        cells[cell] = record
    records = sorted(cells.values(), key=lambda record: str(record.folder))
    return Collected(records, [Replaced(record, cells[cell]) for cell, record in older], skipped)
