"""What is left of a sweep: decided by settings and results, never by folders."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from cpr_lightning.errors import SettingsError
from cpr_lightning.sweeps.cell import Cell, State
from cpr_lightning.sweeps.plan import plan
from cpr_lightning.sweeps.status import write_status
from sweeps.cells import cell, write_metrics


def numbers(cells: list[Cell]) -> list[int]:
    return [each.number for each in cells]


def test_cells_are_done_failed_interrupted_or_missing(tmp_path: Path):
    cells = [cell(tmp_path, number, seed=number) for number in range(5)]
    states = [State.done, State.failed, State.running, State.done]
    for each, state in zip(cells, states, strict=False):
        write_status(each, state, time.time())
    write_metrics(cells[0].folder)
    (cells[3].folder / "metrics.json").write_text('{"pixel_ap": ')  # says done, and is not
    planned = plan(cells, tmp_path)
    assert numbers(planned.done) == [0]
    assert numbers(planned.left) == [1, 2, 3, 4]


def test_a_folder_alone_says_nothing(tmp_path: Path):
    here = cell(tmp_path)
    here.folder.mkdir()
    assert numbers(plan([here], tmp_path).left) == [0]


def test_a_cell_is_found_in_whatever_folder_it_lies(tmp_path: Path):
    before = cell(tmp_path, 3, seed=5)
    write_status(before, State.done, time.time())
    write_metrics(before.folder)
    now = replace(cell(tmp_path, 0, seed=5), folder=tmp_path / "by_another_name")
    planned = plan([now], tmp_path)
    assert [each.folder for each in planned.done] == [before.folder]


def test_a_finished_twin_goes_before_a_failed_one(tmp_path: Path):
    for number, state in ((1, State.failed), (2, State.done), (3, State.failed)):
        write_status(cell(tmp_path, number), state, time.time())
    write_metrics(tmp_path / "cell2")
    assert [each.folder.name for each in plan([cell(tmp_path)], tmp_path).done] == ["cell2"]


def test_the_run_of_other_settings_is_not_written_over(tmp_path: Path):
    write_status(cell(tmp_path, 0, seed=1), State.done, time.time())
    write_metrics(tmp_path / "cell0")
    (tmp_path / "cell0" / "config.yaml").write_text("seed: 1")
    with pytest.raises(SettingsError, match=r"cell0 holds a run with other settings.*hydra\.sweep\.dir"):
        plan([cell(tmp_path, 0, seed=2)], tmp_path)
