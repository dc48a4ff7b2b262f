"""Running the cells of a sweep that are left, watched."""

from contextlib import closing

from cpr_lightning.sweeps.board import Board
from cpr_lightning.sweeps.cell import Cell, Outcome, State
from cpr_lightning.sweeps.engines.engine import Engine
from cpr_lightning.sweeps.plan import Plan
from cpr_lightning.sweeps.work import wait_and_work, work


def run_cells(engine: Engine, planned: Plan) -> list[Outcome]:
    """Run what is left. Cells that another sweep is at come last: it may have done them by then."""
    board = Board(planned.done, planned.left)
    outcomes: list[Outcome] = []
    busy: list[Cell] = []
    cells = {cell.number: cell for cell in planned.left}
    with board.shown():
        with closing(engine.run(planned.left, work)) as running:
            for outcome in running:
                if outcome.state is State.running:
                    busy.append(cells[outcome.number])
                else:
                    outcomes.append(outcome)
                    board.ended(outcome)
        with closing(engine.run(busy, wait_and_work)) as running:
            for outcome in running:
                outcomes.append(outcome)
                board.ended(outcome)
    return outcomes
