"""Running one cell: what it comes to is written down, and an error stays with it."""

import errno
import logging
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from cpr_lightning.errors import DataError
from cpr_lightning.files import write_json
from cpr_lightning.settings import Settings
from cpr_lightning.sweeps import work as module
from cpr_lightning.sweeps.cell import State
from cpr_lightning.sweeps.status import read_status
from cpr_lightning.sweeps.work import wait_and_work, work
from sweeps.cells import METRICS, cell


def job_that(monkeypatch: pytest.MonkeyPatch, does: Any) -> list[Settings]:
    """Put ``does`` in the place of a whole run; returns the settings that it was called with."""
    called: list[Settings] = []

    def run_job(settings: Settings, folder: Path, command: Sequence[str]) -> dict[str, Any]:
        assert list(command[:3]) == ["cpr", "train", "dataset.root=/data"]
        called.append(settings)
        logging.getLogger("cpr_lightning.job").info("At work")
        logging.getLogger("cpr_lightning.job").warning("Mind this")
        if isinstance(does, BaseException):
            raise does
        write_json(folder / "metrics.json", METRICS | does)
        return METRICS | does

    monkeypatch.setattr(module, "run_job", run_job)
    return called


def test_a_cell_that_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own
    called = job_that(monkeypatch, {"pixel_ap": 0.3, "n_skipped": 2})
    here = cell(tmp_path)
    outcome = work(here)
    assert (outcome.state, outcome.error, outcome.metrics["pixel_ap"]) == (State.done, None, 0.3)
    status = read_status(here.folder)
    assert status is not None
    assert (status.state, status.exit_status) == (State.done, 1)
    log = (here.folder / "train.log").read_text()
    assert "At work" in log
    assert "Mind this" in log
    assert capsys.readouterr().err == "cell0: Mind this\n"
    assert list((here.folder / ".hydra").iterdir())
    assert [each.resume for each in called] == [None]
    assert work(here).metrics == outcome.metrics
    assert len(called) == 1, "a finished cell is not run again"


@pytest.mark.parametrize(
    ("error", "said", "in_log"),
    [
        (DataError("There are no images."), "There are no images.", "There are no images."),
        (RuntimeError("a bug"), "RuntimeError: a bug", "Traceback"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x"),
            "/x: No space left on device. Free some",
            "Free some space",
        ),
        (MemoryError(), "MemoryError", "Traceback"),
    ],
)
def test_a_cell_that_fails(error: Exception, said: str, in_log: str, tmp_path: Path, monkeypatch: Any):
    job_that(monkeypatch, error)
    here, handlers = cell(tmp_path), [*logging.getLogger().handlers]
    outcome = work(here)
    assert outcome.state is State.failed
    assert outcome.error is not None
    assert outcome.error.startswith(said)
    status = read_status(here.folder)
    assert status is not None
    assert (status.state, status.error, status.exit_status) == (State.failed, outcome.error, 2)
    assert in_log in (here.folder / status.log).read_text()
    assert logging.getLogger().handlers == handlers


def test_a_failure_that_cannot_be_recorded_is_said(tmp_path: Path, monkeypatch: Any, capsys: Any):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/x/status.json")

    monkeypatch.setattr(module, "write_status", full)
    outcome = work(cell(tmp_path))
    assert outcome.state is State.failed
    assert "its failure could not be recorded" in capsys.readouterr().err


def test_an_interrupted_cell_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    job_that(monkeypatch, KeyboardInterrupt())
    here = cell(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        work(here)
    status = read_status(here.folder)
    assert status is not None
    assert status.state is State.left
    assert "sweep.resume=true" in (here.folder / "train.log").read_text()


@pytest.mark.parametrize("at", ["_logged", "plainly", "remove_halves", "record_words"])
def test_an_interruption_before_the_first_step(at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, at, interrupted)
    here = cell(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        work(here)
    status = read_status(here.folder)
    assert status is not None
    assert status.state is State.left


def test_an_interruption_after_the_last_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    here = cell(tmp_path)

    def interrupted(*_: object) -> None:
        write_json(here.folder / "metrics.json", METRICS | {"n_skipped": 0})
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_job", interrupted)
    with pytest.raises(KeyboardInterrupt):
        work(here)
    status = read_status(here.folder)
    assert status is not None
    assert (status.state, status.exit_status) == (State.done, 0)


def test_an_interruption_that_cannot_be_recorded_is_one(tmp_path: Path, monkeypatch: Any, capsys: Any):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/x/status.json")

    def interrupted(*_: object) -> None:
        monkeypatch.setattr(module, "write_status", full)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_job", interrupted)
    with pytest.raises(KeyboardInterrupt):
        work(cell(tmp_path))
    assert "its interruption could not be recorded" in capsys.readouterr().err


def test_a_cell_with_a_checkpoint_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    called = job_that(monkeypatch, {})
    here = cell(tmp_path)
    (here.folder / "checkpoints").mkdir(parents=True)
    (here.folder / "checkpoints" / "last.ckpt").touch()
    work(here)
    assert [each.resume for each in called] == [str(here.folder)]


def test_another_run_in_its_folder_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    job_that(monkeypatch, {"pixel_ap": 0.3})
    work(cell(tmp_path, seed=1))
    before = read_status(tmp_path / "cell0")
    outcome = work(cell(tmp_path, seed=2))
    assert read_status(tmp_path / "cell0") == before, "its record is not ours to write"
    assert outcome.state is State.failed
    assert "with other settings" in str(outcome.error)
    assert (tmp_path / "cell0" / "metrics.json").is_file()


def hold(path: Path, seconds: float, held: Any) -> None:
    with FileLock(path):
        held.set()
        time.sleep(seconds)


def test_a_cell_that_another_process_is_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    job_that(monkeypatch, {})
    here = cell(tmp_path)
    (tmp_path / ".locks").mkdir()
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    other = context.Process(target=hold, args=(tmp_path / ".locks" / "cell0.lock", 1.0, held))
    other.start()
    assert held.wait(180)
    assert work(here).state is State.running
    assert not here.folder.exists()
    assert work(replace(here, folder=tmp_path / "beside")).state is State.done
    assert wait_and_work(here).state is State.done
    other.join()
