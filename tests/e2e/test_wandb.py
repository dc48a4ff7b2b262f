"""Logging to Weights & Biases without an account."""

import uuid
from pathlib import Path

import pytest
from e2e_helpers import Trained, metrics_of, rows_of, run_cpr, small


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
    (offline,) = (run / "wandb").glob("offline-run-*")
    (log,) = offline.glob("*.wandb")
    content = log.read_bytes()
    assert b"loss_different" in content
    assert b"tiny_washer_cpr_full_seed66" in content
    assert processes_with(mark) == []
    assert metrics_of(run)["steps"] == 6
    assert len(rows_of(run / "training_log" / "version_0" / "metrics.csv")) == 6, "the CSV log is written as well"
    assert not (tmp_path / "wandb").exists()
