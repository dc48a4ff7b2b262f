"""Logging to Weights & Biases without an account, and where the network goes away."""

import re
import shlex
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
from e2e_helpers import Result, Trained, child_environment, metrics_of, rows_of, run_cpr, small

from offline_records import OfflineRun, offline_runs, online_runs
from wandb_server import FakeServer, fake_server


def processes_with(mark: str) -> list[str]:
    """Commands of the processes that have inherited an environment variable."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has ended, or is not ours
            continue
    return found


@pytest.mark.slow
def test_without_a_key_it_logs_offline_and_ends(tiny: Path, trained: Trained, tmp_path: Path):
    run = tmp_path / "run"
    cache = f"index_cache={trained.folder.parent / 'index_cache'}"
    mark = f"e2e-{uuid.uuid4()}"
    home = tmp_path / "home"
    home.mkdir()
    words = small(tiny, run, cache, "logger=wandb", "trainer.log_every_n_steps=1")
    done = run_cpr(*words, cwd=tmp_path, timeout=200, HOME=str(home), CPR_E2E_MARK=mark)
    assert done.status == 0, done.out + done.err
    assert "offline" in done.out + done.err
    (found,) = offline_runs(run)
    assert found.exit_code == 0
    assert found.run.display_name == "tiny_washer_cpr_full_seed66"
    assert (found.run.run_group, found.run.job_type) == ("tiny", "cpr")
    assert [step for step, _ in found.curve("loss_different")] == list(range(6))
    metrics = {name: value for name, value in metrics_of(run).items() if isinstance(value, int | float)}
    assert metrics.items() <= found.summary.items()
    assert found.config["retrieval.neighbors"] == 4
    assert len(found.table("test_images")["data"]) == metrics["n_test"]
    assert found.table("curves/pro_table")["columns"] == ["false_positive_rate", "region_overlap"]
    assert processes_with(mark) == []
    assert metrics_of(run)["steps"] == 6
    assert len(rows_of(run / "training_log" / "version_0" / "metrics.csv")) == 6, "the CSV log is written as well"
    assert not (tmp_path / "wandb").exists()


@pytest.mark.slow
def test_each_cell_of_a_sweep_has_a_run_with_its_exit_status(tiny: Path, trained: Trained, tmp_path: Path):
    cache = f"index_cache={trained.folder.parent / 'index_cache'}"
    words = [word for word in small(tiny, tmp_path / "x", cache, "logger=wandb") if not word.startswith("category=")]
    sweep = tmp_path / "sweep"
    done = run_cpr(
        "train",
        "-m",
        *words[1:],
        "category=nothere,washer",
        f"hydra.sweep.dir={sweep}",
        cwd=tmp_path,
        timeout=200,
        HOME=str(tmp_path),
    )
    assert done.status == 1, done.out + done.err
    runs = {found.config["category"]: found for folder in sweep.glob("tiny_*") for found in offline_runs(folder)}
    assert {name: found.exit_code for name, found in runs.items()} == {"nothere": 1, "washer": 0}
    assert "nothere" in runs["nothere"].summary["error"]
    assert {found.run.run_group for found in runs.values()} == {"sweep"}


@pytest.mark.slow
def test_a_sweep_goes_on_without_the_network_and_is_sent_later(tiny: Path, trained: Trained, tmp_path: Path):
    cache = f"index_cache={trained.folder.parent / 'index_cache'}"
    sweep, mark = tmp_path / "sweep", f"e2e-{uuid.uuid4()}"
    words = small(
        tiny, tmp_path / "x", cache, "logger=wandb", "logger.wandb.upload_timeout=2", "trainer.log_every_n_steps=1"
    )
    account = {"HOME": str(tmp_path), "WANDB_API_KEY": "a" * 40}
    done: list[Result] = []

    def run(address: str) -> None:
        more = ("seed=1,2", f"hydra.sweep.dir={sweep}")
        environment = account | {"WANDB_BASE_URL": address, "CPR_E2E_MARK": mark}
        done.append(run_cpr("train", "-m", *words[1:], *more, cwd=tmp_path, timeout=200, **environment))

    with fake_server() as lost:
        thread = threading.Thread(target=run, args=(lost.address,))
        thread.start()
        while not lost.runs and thread.is_alive():
            time.sleep(0.02)
    thread.join()
    assert done[0].status == 0, done[0].out + done[0].err
    cells = [sweep / f"tiny_washer_cpr_full_seed{seed}" for seed in (1, 2)]
    said = [(cell / "train.log").read_text(encoding="utf-8") for cell in cells]
    assert ["runs that follow in this process are kept offline" in each for each in said] == [True, False]
    assert processes_with(mark) == []
    kept = [*online_runs(cells[0]), *offline_runs(cells[1])]
    with fake_server() as later:
        for log, found in zip(said, kept, strict=True):
            (command,) = re.findall(r"`(wandb sync [^`]+)`", log)
            assert str(found.folder) in command
            environment = child_environment(**account, WANDB_BASE_URL=later.address)
            words = [sys.executable, "-m", *shlex.split(command)]
            sync = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
            assert sync.returncode == 0, sync.stdout + sync.stderr
            assert_sent(found, later)


def assert_sent(found: OfflineRun, server: FakeServer) -> None:
    """The server has all that is on the disk."""
    assert found.exit_code == 0
    run = found.run.run_id
    lines = [line for line in server.history(run) if "loss_different" in line]
    losses = [(line["trainer/global_step"], line["loss_different"]) for line in lines]
    assert losses == found.curve("loss_different")
    assert losses
    assert server.summary(run)["image_auroc"] == found.summary["image_auroc"]
    assert server.files["test_images.table.json"] == found.artifacts["run_table"]["test_images.table.json"].read_bytes()
    assert server.exit_codes[run] == 0
