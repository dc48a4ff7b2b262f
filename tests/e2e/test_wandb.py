"""Logging to Weights & Biases without an account."""

import uuid
from pathlib import Path

import pytest
from e2e_helpers import Trained, metrics_of, rows_of, run_cpr, small

from offline_records import offline_runs


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
