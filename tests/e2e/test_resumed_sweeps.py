"""Sweeps that are interrupted, fail in part, are gone on with, or meet each other in one folder."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_helpers import call_cpr, child_environment, command, half_files, metrics_of, numbers_of, small

from cpr_lightning.sweeps.cell import State
from cpr_lightning.sweeps.status import read_status


def sweep_words(tiny: Path, bench: Path, folder: Path, *more: str) -> list[str]:
    """Two categories and two seeds; a second or two for each cell."""
    words = [word for word in small(tiny, bench / "x", "training.max_steps=2") if not word.startswith("hydra.run.dir")]
    return [*words, "category=washer,weave", "seed=1,2", f"hydra.sweep.dir={folder}", "-m", *more]


def cells_of(folder: Path) -> dict[str, Path]:
    return {path.parent.name: path.parent for path in folder.glob("*/status.json")}


def written_at(folder: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/metrics.json")}


@pytest.fixture(scope="module")
def undisturbed(tiny: Path, bench: Path) -> Path:
    """A whole sweep; read-only by agreement."""
    folder = bench / "undisturbed"
    done = call_cpr(*sweep_words(tiny, bench, folder), cwd=bench)
    assert done.status == 0, done.out + done.err
    assert len(cells_of(folder)) == 4
    return folder


def test_a_sweep_tells_how_it_goes_and_ends_with_a_table(tiny: Path, bench: Path, tmp_path: Path):
    done = call_cpr(*sweep_words(tiny, bench, tmp_path / "s", "branch.dim=8,16", "category=weave"), cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    assert "4 cells" in done.out
    lines = [line for line in done.err.splitlines() if line.startswith("[")]
    assert [line[:5] for line in lines] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]
    assert all("done" in line and "pixel AP" in line for line in lines)
    assert "Means over categories and seeds" in done.out
    rows = [line.split("│") for line in done.out.splitlines() if line.startswith("│")]
    means = {row[1].strip(): float(row[2]) for row in rows}
    for dim in ("8", "16"):
        runs = list((tmp_path / "s").glob(f"*branch.dim={dim}/metrics.json"))
        values = [json.loads(path.read_text())["pixel_ap"] for path in runs]
        assert len(values) == 2
        assert means[dim] == pytest.approx(sum(values) / 2, abs=1e-4)


def test_what_failed_is_tried_again_and_what_is_done_is_left(bench: Path, undisturbed: Path, data_copy: Path):
    folder = data_copy.parent / "sweep"
    weave = data_copy / "weave"
    weave.rename(data_copy / "away")
    words = sweep_words(data_copy, bench, folder)
    done = call_cpr(*words, cwd=bench)
    assert done.status == 1
    assert "2 of 4 cells failed" in done.err
    cell = cells_of(folder)["tiny_weave_cpr_full_seed1"]
    status = read_status(cell)
    assert status is not None
    assert (status.state, status.exit_status) == (State.failed, 2)
    assert "weave" in str(status.error)
    assert "weave" in (cell / status.log).read_text()
    assert "already holds a sweep" in call_cpr(*words, cwd=bench).sentence()
    before = written_at(folder)
    (data_copy / "away").rename(weave)
    done = call_cpr(*words, "sweep.resume=true", cwd=bench)
    assert done.status == 0, done.out + done.err
    assert "2 done, 2 to run" in done.out
    assert before.items() <= written_at(folder).items()
    for name, run in cells_of(undisturbed).items():
        assert numbers_of(cells_of(folder)[name]) == numbers_of(run)
    assert "4 done, 0 to run" in call_cpr(*words, "sweep.resume=true", cwd=bench).out


def test_a_wider_sweep_runs_what_it_adds(tiny: Path, bench: Path, tmp_path: Path):
    folder = tmp_path / "sweep"
    first = call_cpr(*sweep_words(tiny, bench, folder, "category=washer"), cwd=bench)
    assert first.status == 0
    wider = sweep_words(tiny, bench, folder, "branch.dim=8,384", "sweep.resume=true", "category=washer")
    listed = call_cpr(*wider, "sweep.dry=true", cwd=bench)
    assert "4 cells" in listed.out
    assert "2 done, 2 to run" in listed.out
    assert len(cells_of(folder)) == 2, "a dry sweep runs nothing"
    assert call_cpr(*wider, cwd=bench).status == 0
    assert set(cells_of(folder)) == {
        *("tiny_washer_cpr_full_seed1", "tiny_washer_cpr_full_seed2"),
        *("tiny_washer_cpr_full_seed1_branch.dim=8", "tiny_washer_cpr_full_seed2_branch.dim=8"),
    }
    assert set(cells_of(folder)) == {path.name for path in folder.iterdir() if path.is_dir()} - {".locks"}
    assert (
        call_cpr(*sweep_words(tiny, bench, folder, "training.max_steps=1", "sweep.resume=true"), cwd=bench).status == 2
    )


def test_without_a_folder_the_same_command_finds_its_sweep(tiny: Path, bench: Path, tmp_path: Path):
    words = [word for word in sweep_words(tiny, bench, tmp_path, "category=washer") if "hydra.sweep.dir" not in word]
    assert "all of it is run" in call_cpr(*words, "sweep.resume=true", cwd=tmp_path).out
    (folder,) = (tmp_path / "multirun").iterdir()
    done = call_cpr(*words, "sweep.resume=true", cwd=tmp_path)
    assert f"2 cells in {folder}: 2 done" in done.out
    assert [folder] == list((tmp_path / "multirun").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_sweep_is_gone_on_with(
    how: signal.Signals, tiny: Path, bench: Path, undisturbed: Path, tmp_path: Path
):
    folder = tmp_path / "sweep"
    words = sweep_words(tiny, bench, folder)
    process = subprocess.Popen(
        command(*words),
        cwd=bench, env=child_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: len(written_at(folder)) >= 1 and len(cells_of(folder)) >= 2, process)
    os.killpg(process.pid, how)
    said, _ = process.communicate(timeout=180)
    before = written_at(folder)
    assert 1 <= len(before) < 4, said
    if how is signal.SIGINT:
        assert process.returncode == 130
        assert f"sweep.resume=true hydra.sweep.dir={folder}" in said
        assert "Traceback" not in said
        # A cell that was at work is left; it may also have been caught just as it was done.
        told = [read_status(run) for run in cells_of(folder).values()]
        assert {each.state for each in told if each} <= {State.left, State.done}
    done = call_cpr(*words, "sweep.resume=true", cwd=bench)
    assert done.status == 0, done.out + done.err
    assert before.items() <= written_at(folder).items(), "finished cells were not run again"
    for name, run in cells_of(undisturbed).items():
        assert numbers_of(cells_of(folder)[name]) == numbers_of(run)
        assert half_files(cells_of(folder)[name]) == []


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]", seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


@pytest.mark.slow
def test_two_sweeps_in_one_folder_share_the_work(tiny: Path, bench: Path, undisturbed: Path, tmp_path: Path):
    folder = tmp_path / "sweep"
    words = sweep_words(tiny, bench, folder, "sweep.resume=true")
    started = [
        subprocess.Popen(
            command(*words),
            cwd=bench,
            env=child_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=240) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    for name, run in cells_of(undisturbed).items():
        assert numbers_of(cells_of(folder)[name]) == numbers_of(run)
        assert (cells_of(folder)[name] / "train.log").read_text().count("Testing") == 1, "each cell was run once"


def test_a_folder_that_may_not_be_written(tiny: Path, bench: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    said = call_cpr(*sweep_words(tiny, bench, tmp_path / "file" / "sweep"), cwd=bench).sentence()
    assert str(tmp_path / "file") in said


def test_metrics_of_a_cell_are_those_of_its_run(undisturbed: Path):
    for run in cells_of(undisturbed).values():
        status = read_status(run)
        assert status is not None
        assert (status.state, status.exit_status, status.error) == (State.done, 0, None)
        assert status.seconds is not None
        assert status.seconds > metrics_of(run)["training_seconds"]
