"""Outcomes are counted, busy cells come last, and deaths are written down."""

import time
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest
from filelock import FileLock

from cpr_lightning.sweeps.cell import Cell, Outcome, State
from cpr_lightning.sweeps.engines.engine import Work
from cpr_lightning.sweeps.plan import Plan
from cpr_lightning.sweeps.running import run_cells
from cpr_lightning.sweeps.status import read_status, write_status
from cpr_lightning.sweeps.work import wait_and_work, work
from sweeps.cells import METRICS, cell, write_metrics


class Told:
    """An engine that gives the outcomes it is told; the second time, all is done."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes = outcomes
        self.asked: list[tuple[list[int], Work]] = []

    def check(self) -> None:
        pass

    def run(self, cells: Sequence[Cell], work: Work) -> Generator[Outcome]:
        self.asked.append(([each.number for each in cells], work))
        first = len(self.asked) == 1
        yield from self.outcomes if first else [Outcome(each.number, State.done, metrics=METRICS) for each in cells]


def test_busy_cells_come_last_and_are_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    cells = [cell(tmp_path, number, seed=number) for number in range(3)]
    told = [Outcome(1, State.done, metrics=METRICS), Outcome(0, State.running), Outcome(2, State.failed, "It broke.")]
    engine = Told(told)
    outcomes = run_cells(engine, Plan([], cells))
    assert [(each.number, each.state) for each in outcomes] == [
        *((1, State.done), (2, State.failed), (0, State.done)),
    ]
    assert engine.asked == [([0, 1, 2], work), ([0], wait_and_work)]
    lines = capsys.readouterr().err.splitlines()
    for line, begins in zip(lines, ["[1/3] done   cell1", "[2/3] failed cell2", "[3/3] done   cell0"], strict=True):
        assert line.startswith(begins)
    assert "It broke." in lines[1]
    assert "pixel AP 0.700" in lines[0]


class Interrupted:
    """An engine whose sweep is interrupted while processes are at its first three cells."""

    def check(self) -> None:
        pass

    def run(self, cells: Sequence[Cell], work: Work) -> Generator[Outcome]:
        assert work is not wait_and_work
        for each in cells[:3]:
            write_status(each, State.running, time.time())
        yield Outcome(3, State.failed, "It broke.")
        raise KeyboardInterrupt


def test_cells_whose_processes_were_ended_do_not_say_that_they_run(tmp_path: Path):
    cells = [cell(tmp_path, number, seed=number) for number in range(4)]
    (tmp_path / ".locks").mkdir()
    write_metrics(cells[1].folder)  # it was just done
    with FileLock(tmp_path / ".locks" / "cell2.lock"), pytest.raises(KeyboardInterrupt):  # another sweep is at it
        run_cells(Interrupted(), Plan([], cells))
    statuses = [read_status(each.folder) for each in cells]
    assert [each and each.state for each in statuses] == [State.left, State.done, State.running, None]


def test_the_death_of_a_cells_process_is_on_record(tmp_path: Path):
    dead, own = cell(tmp_path, 0, seed=1), cell(tmp_path, 1, seed=2)
    write_status(dead, State.running, time.time())
    write_status(own, State.failed, time.time(), error="Its own words.", exit_status=2)
    told = [Outcome(0, State.failed, "its process died (SIGKILL)."), Outcome(1, State.failed, "other words")]
    run_cells(Told(told), Plan([], [dead, own]))
    statuses = [read_status(each.folder) for each in (dead, own)]
    assert [(status.state, status.error) for status in statuses if status is not None] == [
        (State.failed, "its process died (SIGKILL)."),
        (State.failed, "Its own words."),
    ]
