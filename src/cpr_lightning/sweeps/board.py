"""What a sweep shows of itself: a live table in a terminal, a line for every cell in a pipe or a log file."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cpr_lightning.sweeps.cell import Cell, Outcome, State
from cpr_lightning.sweeps.status import Status, read_status

_SHOWN = 12  # cells of a sort; the others are counted
_TAIL = 4096  # bytes of a log that hold its last line


class Board:
    """Done, running, failed and left cells, and the time that is left.

    Args:
        done: cells that were finished before.
        left: cells to run.
    """

    def __init__(self, done: Sequence[Cell], left: Sequence[Cell]) -> None:
        self._before = len(done)
        self._open = {cell.number: cell for cell in left}
        self._total = len(done) + len(left)
        self._outcomes: list[Outcome] = []
        self._names = {cell.number: cell.name for cell in left}
        self._began = time.time()
        # Status and bars go to stderr; stdout is for results.
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw the table for the length of a block, where there is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with Live(get_renderable=self._table, console=self._console, refresh_per_second=1, transient=True):
            yield

    def ended(self, outcome: Outcome) -> None:
        """A cell has ended: count it, and say so."""
        self._open.pop(outcome.number, None)
        self._outcomes.append(outcome)
        count = self._before + len(self._outcomes)
        width = len(str(self._total))
        head = f"[{count:{width}}/{self._total}] {outcome.state.value:<6} {self._names[outcome.number]}"
        told = outcome.error if outcome.error is not None else _numbers(outcome)
        remaining = self._remaining()
        then = f", {remaining} left" if remaining and self._open else ""
        style = "red" if outcome.state is State.failed else ""
        self._console.print(Text(f"{head}  {told}  ({_span(outcome.seconds)}{then})", style))

    def _table(self) -> RenderableType:
        failed = [each for each in self._outcomes if each.state is State.failed]
        running = self._running()
        done = self._before + len(self._outcomes) - len(failed)
        counts = Text.assemble(
            (f"{done} done", "green"), f" · {len(running)} running · ",
            (f"{len(failed)} failed", "red" if failed else ""), f" · {len(self._open) - len(running)} left",
        )  # fmt: skip
        remaining = self._remaining()
        if remaining:
            counts.append(f" · about {remaining} to go")
        rows = Table.grid(padding=(0, 2))
        for cell, status in running[:_SHOWN]:
            rows.add_row(
                Text(cell.name, "bold"), _span(time.time() - status.started), Text(_last_line(cell.folder), "dim")
            )
        if len(running) > _SHOWN:
            rows.add_row(f"… and {len(running) - _SHOWN} more")
        return Group(rows, counts)

    def _running(self) -> list[tuple[Cell, Status]]:
        found = []
        for cell in list(self._open.values()):
            status = read_status(cell.folder)
            if status is not None and status.state is State.running and status.started >= self._began:
                found.append((cell, status))
        return found

    def _remaining(self) -> str | None:
        """The time that the open cells take if they go as fast as those that have ended."""
        if not self._outcomes:
            return None
        return _span((time.time() - self._began) / len(self._outcomes) * len(self._open))


def _numbers(outcome: Outcome) -> str:
    names = {"image_auroc": "image AUROC", "pixel_ap": "pixel AP", "pro": "PRO"}
    told = [f"{name} {outcome.metrics[key]:.3f}" for key, name in names.items() if outcome.metrics.get(key) is not None]
    return ", ".join(told) or "no metrics"


def _span(seconds: float) -> str:
    """A length of time, as coarse as it is long."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return str(timedelta(minutes=round(seconds / 60)))[:-3] + " h"


def _last_line(folder: Path) -> str:
    """What a running cell last wrote to its log."""
    try:
        with (folder / "train.log").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].partition("] ")[2][:80] if lines else ""
