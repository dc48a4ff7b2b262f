"""The same seed gives the same numbers; a run that was killed goes on as if nothing had happened."""

import os
import signal
from pathlib import Path

import pytest
from e2e_helpers import (
    Trained,
    call_cpr,
    half_files,
    numbers_of,
    rows_of,
    same_model,
    small,
)
from signals import group_is_gone, kill_group, started, wait_for

ENDURING = ["training.max_steps=12", "training.checkpoint_every=2"]


def trained_with(data: Path, folder: Path, *more: str) -> Path:
    done = call_cpr(*small(data, folder, f"index_cache={folder.parents[1] / 'index_cache'}", *more), cwd=folder.parent)
    assert done.status == 0, done.out + done.err
    return folder


def test_the_same_seed_gives_the_same_numbers(trained: Trained, tiny: Path, tmp_path: Path):
    again = trained_with(tiny, tmp_path / "again")
    assert numbers_of(again) == numbers_of(trained.folder)
    assert same_model(again, trained.folder)
    assert rows_of(again / "predictions.csv") == rows_of(trained.folder / "predictions.csv")


def test_another_seed_gives_others(trained: Trained, tiny: Path, tmp_path: Path):
    other = trained_with(tiny, tmp_path / "other", "seed=67")
    assert numbers_of(other)["seed"] == 67
    assert not same_model(other, trained.folder)
    scores = [row["score"] for row in rows_of(other / "predictions.csv")]
    assert scores != [row["score"] for row in rows_of(trained.folder / "predictions.csv")]


def test_zero_is_a_seed_like_any_other(trained: Trained, tiny: Path, tmp_path: Path):
    zero = trained_with(tiny, tmp_path / "zero", "seed=0")
    assert numbers_of(zero)["seed"] == 0
    assert not same_model(zero, trained.folder)


def test_loader_processes_do_not_change_the_numbers(trained: Trained, tiny: Path, tmp_path: Path):
    worked = trained_with(tiny, tmp_path / "worked", "training.workers=2")
    assert same_model(worked, trained.folder)


def test_checkpoints_do_not_change_the_numbers(unbroken: Path, tiny: Path, tmp_path: Path):
    plain = trained_with(tiny, tmp_path / "plain", "training.max_steps=12")
    assert same_model(plain, unbroken)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_end_of_an_unbroken_one(tiny: Path, bench: Path, unbroken: Path, tmp_path: Path):
    folder = tmp_path / "killed"
    words = small(tiny, folder, *ENDURING, f"index_cache={bench / 'index_cache'}")
    process = started(words, tmp_path)
    try:
        wait_for((folder / "checkpoints" / "last.ckpt").is_file, process, tmp_path)
        os.killpg(process.pid, signal.SIGKILL)
    finally:
        kill_group(process)
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "metrics.json").exists()
    assert not (folder / "model.safetensors").exists(), "it was killed too late to show anything"
    refused = call_cpr(*words, cwd=tmp_path).sentence()
    assert f"resume={folder}" in refused, "starting it again must not overwrite what is there"

    done = call_cpr("train", f"resume={folder}", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    assert numbers_of(folder) == numbers_of(unbroken)
    assert same_model(folder, unbroken)
    assert rows_of(folder / "predictions.csv") == rows_of(unbroken / "predictions.csv")


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_leaves_no_half_file(tiny: Path, bench: Path, unbroken: Path, tmp_path: Path):
    folder = tmp_path / "stopped"
    more = [*ENDURING, "training.workers=1", f"index_cache={bench / 'index_cache'}"]
    process = started(small(tiny, folder, *more), tmp_path)
    try:
        wait_for((folder / "checkpoints" / "last.ckpt").is_file, process, tmp_path)
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does
        process.wait(timeout=120)
    finally:
        kill_group(process)
    said = (tmp_path / "said.txt").read_text(errors="replace")
    assert process.returncode == 130, said
    assert f"resume={folder}" in said
    assert "cpr_lightning/" not in said, said  # no traceback of ours; a loader's death may show one of Python's own
    assert group_is_gone(process.pid), "loader processes were left behind"
    assert half_files(folder) == []
    assert not (folder / "metrics.json").exists()
    assert not (folder / "model.safetensors").exists()
    done = call_cpr("train", f"resume={folder}", "training.workers=0", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    assert same_model(folder, unbroken)


def test_a_finished_run_is_not_resumed(trained: Trained, tmp_path: Path):
    said = call_cpr("train", f"resume={trained.folder}", cwd=tmp_path).sentence()
    assert "finished" in said
    assert f"cpr evaluate run={trained.folder}" in said


@pytest.mark.parametrize("given", ["resume=nowhere", "resume="])
def test_resuming_what_is_no_run(given: str, tmp_path: Path):
    assert "is not the folder of a run" in call_cpr("train", given, cwd=tmp_path).sentence()
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_checkpoint_starts_from_the_beginning(trained: Trained, run_copy: Path, tmp_path: Path):
    for path in (run_copy / "checkpoints").iterdir():
        path.unlink()
    (run_copy / "metrics.json").unlink()
    done = call_cpr("train", f"resume={run_copy}", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    assert "starts from the beginning" in done.out
    assert numbers_of(run_copy) == numbers_of(trained.folder)
    assert same_model(run_copy, trained.folder)


def test_training_further_goes_on_from_the_last_step(unbroken: Path, trained: Trained, run_copy: Path, tmp_path: Path):
    (run_copy / "metrics.json").unlink()
    done = call_cpr("train", f"resume={run_copy}", "training.max_steps=12", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    assert numbers_of(run_copy)["steps"] == 12
    assert same_model(run_copy, unbroken)
    assert not same_model(run_copy, trained.folder)


@pytest.mark.parametrize("content", [b"", b"half of a checkpoint"], ids=["empty", "damaged"])
def test_a_damaged_checkpoint_is_named(content: bytes, run_copy: Path, tmp_path: Path):
    (run_copy / "metrics.json").unlink()
    (run_copy / "checkpoints" / "last.ckpt").write_bytes(content)
    said = call_cpr("train", f"resume={run_copy}", cwd=tmp_path).sentence()
    assert "last.ckpt" in said


def test_resuming_with_a_setting_that_does_not_fit_can_be_put_right(run_copy: Path, tmp_path: Path):
    (run_copy / "metrics.json").unlink()
    said = call_cpr("train", f"resume={run_copy}", "branch.dim=64", cwd=tmp_path).sentence()
    assert "branch" in said
    done = call_cpr("train", f"resume={run_copy}", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
