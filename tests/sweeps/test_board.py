"""What a sweep shows: a table that is drawn over in a terminal, lines elsewhere."""

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from cpr_lightning.sweeps import board as module
from cpr_lightning.sweeps.board import Board
from cpr_lightning.sweeps.cell import Outcome, State
from cpr_lightning.sweeps.status import write_status
from sweeps.cells import METRICS, cell


def drawn(board: Board, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(board._table())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_counts_and_shows_what_runs(tmp_path: Path):
    cells = [cell(tmp_path, number, seed=number) for number in range(6)]
    board = Board(cells[:1], cells[1:])
    assert "1 done · 0 running · 0 failed · 5 left" in drawn(board)
    for each in cells[2:4]:
        write_status(each, State.running, time.time() + 1)
        (each.folder / "train.log").write_text(f"[10:00:00] Indexing\n[10:00:01] Step {each.number} of 9\n")
    board.ended(Outcome(1, State.done, seconds=3.0, metrics=METRICS))
    board.ended(Outcome(5, State.failed, "It broke.", 1.0))
    shown = drawn(board)
    assert "2 done · 2 running · 1 failed · 1 left · about" in shown
    assert "cell2" in shown
    assert "Step 3 of 9" in shown
    assert "Indexing" not in shown


def test_a_cell_that_an_earlier_sweep_left_running_is_not_shown_as_such(tmp_path: Path):
    old = cell(tmp_path)
    write_status(old, State.running, time.time() - 1000)
    assert "0 running" in drawn(Board([], [old]))


def test_many_running_cells_do_not_fill_the_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_SHOWN", 3)
    cells = [cell(tmp_path, number, seed=number) for number in range(5)]
    board = Board([], cells)
    for each in cells:
        write_status(each, State.running, time.time() + 1)
    assert "and 2 more" in drawn(board)
    assert len(drawn(board).strip().splitlines()) == 5


def test_lines_where_there_is_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    cells = [cell(tmp_path, number, seed=number) for number in range(2)]
    board = Board([], cells)
    with board.shown():
        board.ended(Outcome(0, State.done, seconds=125.0, metrics={}))
        board.ended(Outcome(1, State.failed, "A long sentence. " * 20, 7300.0))
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 2, "a line for each cell, however long"
    assert lines[0].startswith("[1/2] done   cell0  no metrics  (2 min, ")
    assert lines[1].endswith("(2:02 h)")
    assert "\x1b" not in captured.err
