"""A W&B server that goes away, or refuses the key, while a run is open: nothing is lost, and nobody waits twice."""

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import wandb

from cpr_lightning.files import write_json
from cpr_lightning.settings import Scenario, Settings
from cpr_lightning.tracking import opening, run_logger
from cpr_lightning.tracking.run_logger import WandbRunLogger
from offline_records import OfflineRun, offline_runs, online_runs
from wandb_server import FakeServer, fake_server

UPLOAD_TIMEOUT = 2.0  # seconds


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished run directory."""
    made = tmp_path / "run"
    write_json(made / "metrics.json", {"image_auroc": 0.75, "steps": 6, "kind": "object"})
    write_json(made / "curves.json", {"image_roc": {"false_positive_rate": [0, 1], "true_positive_rate": [0.5, 1]}})
    (made / "model.safetensors").write_bytes(b"model")
    (made / "bank").mkdir()
    (made / "bank" / "scale1.faiss").write_bytes(b"bank")
    return made


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ExitStack]:
    """Closed by a test to switch the server off."""
    for name in ("WANDB_MODE", "WANDB_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(opening, "_ANSWER", 5.0)
    monkeypatch.setattr(opening, "_stays_offline", False)
    wandb.teardown()  # it reads its variables once in a process
    with ExitStack() as opened:
        yield opened
    wandb.teardown()


@pytest.fixture
def server(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    """A server that takes everything, and what W&B needs to find it."""
    fake = stack.enter_context(fake_server())
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", fake.address)
    return fake


def opened(folder: Path) -> WandbRunLogger:
    """A logger whose run is open, with a value logged."""
    logger = WandbRunLogger(project="p", save_dir=str(folder), name="n", artifacts=True, upload_timeout=UPLOAD_TIMEOUT)
    settings = Settings(category="pen", variant="fast", ablation="full", scenario=Scenario.unsupervised)
    assert logger.start(settings, folder)
    logger.log_metrics({"loss": 0.5}, step=0)
    return logger


def finished(logger: WandbRunLogger, folder: Path) -> float:
    """Log the rest and close; the seconds that took."""
    started = time.monotonic()
    logger.log_metrics({"loss": 0.25}, step=9)
    logger.publish(folder)
    logger.close(None)
    return time.monotonic() - started


def assert_whole(found: OfflineRun, folder: Path) -> None:
    """All that a finished run logs is in its file, or lies where that says."""
    assert found.exit_code == 0
    assert found.curve("loss") == [(0, 0.5), (9, 0.25)]
    assert found.summary["image_auroc"] == 0.75
    assert found.table("curves/image_roc_table")["data"] == [[0, 0.5], [1, 1]]
    assert found.artifacts["model"] == {"model.safetensors": folder / "model.safetensors"}
    assert found.artifacts["index"] == {"scale1.faiss": folder / "bank" / "scale1.faiss"}


def test_a_server_that_stays_gets_everything(
    folder: Path, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    finished(opened(folder), folder)
    (run,) = server.runs
    assert server.exit_codes == {run: 0}
    history = server.history(run)
    assert [(line["trainer/global_step"], line["loss"]) for line in history if "loss" in line] == [(0, 0.5), (9, 0.25)]
    assert server.summary(run)["image_auroc"] == 0.75
    assert sorted(server.artifacts) == ["index", "model", "run_table"]
    assert server.files["scale1.faiss"] == b"bank"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    opened(folder).close(None)
    assert len(server.runs) == 2, "the next cell is online, too"


@pytest.mark.parametrize("how", ["gone", "refused"])
def test_where_it_is_lost_meanwhile_the_run_is_whole_and_the_next_cell_offline(
    folder: Path, server: FakeServer, stack: ExitStack, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    logger = opened(folder)
    if how == "gone":
        stack.close()
    else:
        server.status = 401
    assert finished(logger, folder) < 30.0, "it would take a quarter of an hour"
    (found,) = online_runs(folder)
    assert_whole(found, folder)
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 1
    assert f"`wandb sync --include-online {found.folder}`" in said[0]
    assert "runs that follow in this process are kept offline" in said[0]
    if how == "refused":
        assert "the key is not known" in said[0]

    asked, started = server.asked, time.monotonic()
    following = folder.with_name("next")
    shutil.copytree(folder, following, ignore=shutil.ignore_patterns("wandb"))
    finished(opened(following), following)
    assert time.monotonic() - started < UPLOAD_TIMEOUT
    (kept,) = offline_runs(following)
    assert_whole(kept, following)
    assert server.asked == asked
    said = [each for each in caplog.records if each.levelno >= logging.WARNING and each.name == run_logger.__name__]
    assert len(said) == 1, "and that was said once"
