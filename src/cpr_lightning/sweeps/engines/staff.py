"""Cells dealt out to workers, processes that are kept for cell after cell and replaced when they die."""

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Protocol

from cpr_lightning.errors import first_line
from cpr_lightning.sweeps.cell import Cell, Outcome, State
from cpr_lightning.sweeps.engines.engine import Work


class Worker(Protocol):
    """A process of one's own, that does one cell at a time."""

    def begin(self, work: Work, cell: Cell) -> Future[Outcome]:
        """Start a cell. The future has an exception where the process died."""
        ...

    def cause_of_death(self, error: BaseException) -> str | None:
        """What the exception of a future says about the process' death; None: it lives."""
        ...

    def dismiss(self) -> None:
        """Let it end in its own time; it is idle."""
        ...

    def kill(self) -> None:
        """End it, and every process that it started, now."""
        ...


@dataclass(frozen=True)
class _Task:
    place: int
    cell: Cell
    began: float = field(default_factory=time.monotonic)


def run_with(hire: Callable[[int], Worker], places: int, cells: Sequence[Cell], work: Work) -> Generator[Outcome]:
    """Outcomes in the order in which cells end.

    Each place has one worker, so that a death concerns one cell, and a place can have a GPU and cores of its own.

    Args:
        hire: starts the worker of a place.
        places: workers at the same time, at most.
        cells: to run.
        work: runs one.
    """
    left = deque(cells)
    staff: dict[int, Worker] = {}
    busy: dict[Future[Outcome], _Task] = {}

    def go_on(place: int) -> None:
        """The next cell for a place; without any its worker goes, and leaves its memory to the others."""
        if left:
            if place not in staff:
                staff[place] = hire(place)
            cell = left.popleft()
            busy[staff[place].begin(work, cell)] = _Task(place, cell)
        elif place in staff:
            staff.pop(place).dismiss()

    try:
        for place in range(min(places, len(cells))):
            go_on(place)
        while busy:
            ended, _ = wait(busy, return_when=FIRST_COMPLETED)
            for future in ended:
                task = busy.pop(future)
                error = future.exception()
                if isinstance(error, KeyboardInterrupt):
                    raise error
                if error is None:
                    outcome = future.result()
                else:
                    worker = staff.pop(task.place)
                    worker.kill()
                    outcome = _failed(task, error, worker.cause_of_death(error))
                go_on(task.place)
                yield outcome
    finally:
        for worker in staff.values():
            worker.kill()


def _failed(task: _Task, error: BaseException, cause: str | None) -> Outcome:
    if cause is None:
        error = getattr(error, "cause", None) or error  # Ray wraps what was raised
        said = f"its worker could not run it ({type(error).__name__}: {first_line(error)})."
    else:
        said = f"its process died ({cause}); {task.cell.folder / 'train.log'} shows how far it had come."
    return Outcome(task.cell.number, State.failed, said, time.monotonic() - task.began)
