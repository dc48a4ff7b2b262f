"""`trainer=ddp`: several processes train one branch, as one process would."""

import os
import signal
from pathlib import Path

import pytest
import torch
from e2e_helpers import Trained, half_files, metrics_of, numbers_of, rows_of, run_cpr, small
from safetensors.torch import load_file
from signals import group_is_gone, kill_group, started, wait_for

from offline_records import offline_runs

TWO = ["trainer=ddp", "trainer.devices=2", "device=cpu"]
CLOSE = 1e-3  # of the metrics, which are fractions; sums in another order differ by some 1e-5 after a dozen steps

pytestmark = pytest.mark.slow


def assert_trained_alike(run: Path, other: Path) -> None:
    """Metrics and weights are the same but for rounding, and all facts are the same."""
    for name, value in numbers_of(other).items():
        found = metrics_of(run)[name]
        assert found == pytest.approx(value, abs=CLOSE) if isinstance(value, float) else found == value, name
    one, two = (load_file(folder / "model.safetensors") for folder in (run, other))
    assert one.keys() == two.keys()
    for name, value in two.items():
        torch.testing.assert_close(one[name], value, rtol=0, atol=3e-3, msg=lambda text, name=name: f"{name}: {text}")


def losses(run: Path) -> list[float]:
    return [float(row["loss"]) for row in rows_of(run / "training_log" / "version_0" / "metrics.csv")]


def processes_of(parent: int) -> list[int]:
    """Those that a command has started for its training, in the order of their ranks."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "status").read_text(encoding="utf-8")
            command = (folder / "cmdline").read_bytes()
        except OSError:  # it has ended, or is not ours
            continue
        if f"PPid:\t{parent}\n" in status and b"spawn_main" in command:
            found.append(int(folder.name))
    return sorted(found)


def test_two_processes_train_as_one_does(trained: Trained, tiny: Path, tmp_path: Path):
    run = tmp_path / "two"
    cache = f"index_cache={trained.folder.parent / 'index_cache'}"
    words = small(tiny, run, cache, *TWO, "logger=wandb", "trainer.log_every_n_steps=1")
    done = run_cpr(*words, cwd=tmp_path, HOME=str(tmp_path), WANDB_MODE="offline")
    assert done.status == 0, done.out + done.err
    assert_trained_alike(run, trained.folder)
    assert metrics_of(run)["steps"] == 6
    assert losses(run) == pytest.approx(losses(trained.folder), rel=CLOSE)
    # One process speaks, and one logs.
    assert done.out.count("Step 6 of 6") == 1
    assert "Index of" in (run / "train.log").read_text(encoding="utf-8")
    assert (run / "train.log").read_text(encoding="utf-8").count("Step 6 of 6") == 1
    (logged,) = offline_runs(run)
    assert logged.exit_code == 0
    assert [value for _, value in logged.curve("loss")] == pytest.approx(losses(run))
    assert logged.summary["pixel_ap"] == metrics_of(run)["pixel_ap"]
    assert half_files(run) == []


def test_an_interrupted_training_of_two_goes_on(tiny: Path, unbroken: Path, tmp_path: Path):
    folder = tmp_path / "stopped"
    more = [*TWO, "training.max_steps=12", "training.checkpoint_every=2"]
    words = small(tiny, folder, *more, f"index_cache={unbroken.parent / 'index_cache'}")
    process = started(words, tmp_path)
    try:
        wait_for((folder / "checkpoints" / "last.ckpt").is_file, process, tmp_path)
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does
        process.wait(timeout=120)
    finally:
        kill_group(process)
    said = (tmp_path / "said.txt").read_text(errors="replace")
    assert process.returncode == 130, said
    assert f"resume={folder}" in said
    assert "Traceback" not in said
    assert group_is_gone(process.pid), "processes were left behind"
    assert half_files(folder) == []
    assert not (folder / "metrics.json").exists()
    done = run_cpr("train", f"resume={folder}", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    assert metrics_of(folder)["steps"] == 12
    assert_trained_alike(folder, unbroken)


def test_where_a_process_is_killed_the_command_ends_with_a_sentence(tiny: Path, unbroken: Path, tmp_path: Path):
    folder = tmp_path / "killed"
    more = [*TWO, "training.max_steps=5000", "training.checkpoint_every=2"]
    words = small(tiny, folder, *more, f"index_cache={unbroken.parent / 'index_cache'}")
    process = started(words, tmp_path)
    try:
        wait_for((folder / "checkpoints" / "last.ckpt").is_file, process, tmp_path)
        os.kill(processes_of(process.pid)[-1], signal.SIGKILL)
        process.wait(timeout=90)
    finally:
        kill_group(process)
    said = (tmp_path / "said.txt").read_text(errors="replace")
    assert process.returncode == 2, said
    assert "cpr: A process of the training ended" in said
    assert "resume=" in said
    assert group_is_gone(process.pid), "processes were left behind"
