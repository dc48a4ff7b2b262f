"""``status.json`` of a cell: how it stands, and the settings by which it is known again."""

import hashlib
import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cpr_lightning.errors import RunError
from cpr_lightning.files import read_json, write_json
from cpr_lightning.settings import Settings
from cpr_lightning.sweeps.cell import Cell, State

STATUS = "status.json"
# Where a run is made and what is told of it does not make it another run.
_NOT_OF_THE_CELL = ("resume", "sweep", "launcher", "search", "logger", "index_cache", "experiment")


@dataclass(frozen=True)
class Status:
    """What ``status.json`` says.

    Attributes:
        state: done and failed are final; running means begun, and whoever did so may be gone.
        config: ``fingerprint`` of the cell's settings.
        error: why it failed.
        exit_status: that the cell would have had as a command of its own.
        seconds: that it took, the last time.
        log: the file that holds the whole story, in the cell's folder.
        host, process: where it ran.
    """

    state: State
    config: str
    error: str | None = None
    exit_status: int | None = None
    seconds: float | None = None
    started: float = 0.0
    log: str = "train.log"
    host: str = ""
    process: int = 0


def fingerprint(settings: Settings) -> str:
    """Equal for settings that make the same run, and only for these."""
    told: dict[str, Any] = {key: value for key, value in asdict(settings).items() if key not in _NOT_OF_THE_CELL}
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=lambda each: each.value).encode()).hexdigest()[:24]


def write_status(cell: Cell, state: State, started: float, **others: Any) -> None:
    """Record how a cell stands.

    Args:
        cell: of a sweep.
        state: from now on.
        started: seconds since the epoch.
        others: ``error``, ``exit_status``.
    """
    seconds = None if state is State.running else round(time.time() - started, 3)
    here = {"host": socket.gethostname(), "process": os.getpid()}
    status = Status(state, fingerprint(cell.settings), seconds=seconds, started=started, **here, **others)
    write_json(cell.folder / STATUS, asdict(status) | {"state": state.value})


def read_status(folder: Path) -> Status | None:
    """How the cell in a folder stands; None where nothing says so, or what says so is damaged."""
    try:
        told = read_json(folder / STATUS)
        return Status(**told | {"state": State(told["state"])})
    except (RunError, TypeError, KeyError, ValueError):
        return None


def finished(folder: Path) -> dict[str, Any] | None:
    """``metrics.json`` of a run; None unless it is complete."""
    try:
        metrics = read_json(folder / "metrics.json")
    except RunError:
        return None
    return metrics if isinstance(metrics, dict) and "image_auroc" in metrics and "seed" in metrics else None
