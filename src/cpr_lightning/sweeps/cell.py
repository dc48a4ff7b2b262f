"""A cell of a sweep, and how it ended. Both travel between processes and machines."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from cpr_lightning.settings import Settings


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes:
        number: its place in the sweep, from 0.
        folder: its run directory.
        words: the overrides that compose it, as typed.
        settings: checked, with absolute paths.
    """

    number: int
    folder: Path
    words: tuple[str, ...]
    settings: Settings

    @property
    def name(self) -> str:
        """For people."""
        return self.folder.name


class State(Enum):
    """How a cell stands."""

    left = "left"  # not begun, or begun and interrupted
    running = "running"
    done = "done"
    failed = "failed"


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Attributes:
        number: of the cell.
        state: done or failed; running where another process is at it.
        error: one sentence, where it failed.
        seconds: that it took.
        metrics: content of ``metrics.json``, where it is done.
    """

    number: int
    state: State
    error: str | None = None
    seconds: float = 0.0
    metrics: Mapping[str, Any] = field(default_factory=dict)
