"""What of a sweep is left to do."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cpr_lightning.errors import SettingsError
from cpr_lightning.sweeps.cell import Cell
from cpr_lightning.sweeps.status import STATUS, fingerprint, finished, read_status


@dataclass(frozen=True)
class Plan:
    """The cells of a sweep, each in the folder where it is, or will be."""

    done: list[Cell]
    left: list[Cell]


def plan(cells: Sequence[Cell], folder: Path) -> Plan:
    """Tell finished cells from those that are missing, failed or were interrupted.

    A cell is known again by its settings, in whatever folder of the sweep it lies; it is finished when its
    ``metrics.json`` is complete.

    Args:
        cells: composed.
        folder: of the sweep.

    Raises:
        SettingsError: the folder of a cell holds a run with other settings.
    """
    there = _there(folder)
    done, left = [], []
    for cell in cells:
        found = there.get(fingerprint(cell.settings))
        if found is not None:
            cell = replace(cell, folder=found)
        elif (cell.folder / "config.yaml").exists():
            raise SettingsError(
                f"{cell.folder} holds a run with other settings than the cell that would lie there. Choose another "
                "hydra.sweep.dir=, or give the command with which the sweep was made. No cell has been started."
            )
        (left if found is None or finished(found) is None else done).append(cell)
    return Plan(done, left)


def _there(folder: Path) -> dict[str, Path]:
    """Fingerprint of the settings → folder, of all cells that were ever begun. The finished ones go first."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob(STATUS)):
        status = read_status(path.parent)
        if status is not None and (status.config not in found or finished(path.parent) is not None):
            found[status.config] = path.parent
    return found
