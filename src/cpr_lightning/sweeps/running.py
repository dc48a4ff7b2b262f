"""Running the cells of a sweep that are left, watched."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing

from cpr_lightning.sweeps.board import Board
from cpr_lightning.sweeps.cell import Cell, Outcome, State
from cpr_lightning.sweeps.engines.engine import Engine, Work
from cpr_lightning.sweeps.plan import Plan
from cpr_lightning.sweeps.status import read_status
from cpr_lightning.sweeps.work import record_end, record_failure, wait_and_work, work


def run_cells(engine: Engine, planned: Plan) -> list[Outcome]:
    """Run what is left; outcomes in the order in which cells end. Those that another sweep is at come last: it may have
    done them by then.
    """
    board = Board(planned.done, planned.left)
    cells = {cell.number: cell for cell in planned.left}
    outcomes: list[Outcome] = []
    busy: list[Cell] = []

    def ended(outcome: Outcome) -> None:
        if outcome.state is State.running:
            busy.append(cells[outcome.number])
            return
        if outcome.state is State.failed:
            _record_death(cells[outcome.number], outcome)
        outcomes.append(outcome)
        board.ended(outcome)

    try:
        with board.shown():
            _run(engine, planned.left, work, ended)
            _run(engine, busy, wait_and_work, ended)
    except KeyboardInterrupt:
        for cell in planned.left:  # the engine has ended its workers, and they told nobody
            record_end(cell)
        raise
    return outcomes


def _run(engine: Engine, cells: Sequence[Cell], how: Work, ended: Callable[[Outcome], None]) -> None:
    with closing(engine.run(cells, how)) as running:
        for outcome in running:
            ended(outcome)


def _record_death(cell: Cell, outcome: Outcome) -> None:
    """A cell writes down why it failed, unless its process died of it."""
    status = read_status(cell.folder)
    if status is not None and status.state is State.running:
        record_failure(cell, outcome.error or "", time.time() - outcome.seconds, None)
