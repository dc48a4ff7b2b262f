"""What a finished run shows at W&B, read back from what an offline run wrote."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpr_lightning.data.images import read_image
from cpr_lightning.errors import CprError
from cpr_lightning.files import write_csv, write_json
from cpr_lightning.settings import Scenario, Settings
from cpr_lightning.tracking.run_logger import WandbRunLogger
from cpr_lightning.visual.overlay import write_png
from offline_records import OfflineRun, offline_runs


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run directory with the results of four test images, far from anybody's W&B key."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "run"
    rng = np.random.default_rng(0)
    for name in ("good/0", "good/1", "bent/0", "bent/1"):
        write_png(folder / "heatmaps" / f"{name}.png", rng.integers(0, 255, (40, 120, 3), dtype=np.uint8))
    write_png(tmp_path / "train" / "7.png", np.full((30, 20, 3), 90, np.uint8))
    lines = [("good/0", 0, 1.0), ("good/1", 0, 3.5), ("bent/0", 1, 2.0), ("bent/1", 1, 9.0)]
    write_csv(
        folder / "predictions.csv",
        ["path", "label", "score", "threshold", "is_anomalous", "neighbor_1"],
        [[f"{tmp_path}/test/{name}.png", str(label), str(score), "3.0", str(int(score > 3)), f"{tmp_path}/train/7.png"]
         for name, label, score in lines],
    )  # fmt: skip
    metrics = {"image_auroc": 0.75, "pro": None, "steps": 6, "category": "pen", "kind": "object", "n_test": 4}
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "benchmark.json", {"latency_ms": 12.5, "stages_ms": {"network": 9.0}})
    write_json(folder / "environment.json", {"cores": 2, "packages": {"torch": "2.13.0"}})
    write_json(folder / "curves.json", {"image_roc": {"false_positive_rate": [0, 1], "true_positive_rate": [0.5, 1]}})
    (folder / "model.safetensors").write_bytes(b"model")
    (folder / "bank").mkdir()
    (folder / "bank" / "scale1.faiss").write_bytes(b"bank")
    return folder


def settings() -> Settings:
    made = Settings(category="pen", variant="fast", ablation="full", scenario=Scenario.unsupervised)
    made.dataset.name = "shop"
    return made


def logged(folder: Path, error: BaseException | None = None, **arguments: Any) -> OfflineRun:
    """The run, logged and read back."""
    logger = WandbRunLogger(project="p", save_dir=str(folder), name="n", job_type="fast", **arguments)
    assert logger.start(settings(), folder)
    logger.log_metrics({"loss": 0.5}, step=0)
    logger.log_metrics({"loss": 0.25}, step=9)
    if error is None:
        logger.publish(folder)
    logger.close(error)
    (found,) = offline_runs(folder)
    return found


def test_configuration_summary_and_curves(run: Path) -> None:
    tags = ["pen", "full", Scenario.unsupervised, None, "full", "x" * 90]
    found = logged(run, tags=tags)
    assert (found.run.project, found.run.display_name) == ("p", "n")
    assert (found.run.run_group, found.run.job_type, found.exit_code) == ("shop", "fast", 0)
    assert sorted(found.run.tags) == sorted(["pen", "full", "unsupervised", "x" * 64])
    assert found.config["training.learning_rate"] == 1e-3
    assert found.config["retrieval.windows"] == [3, 1]
    assert found.config["scenario"] == "unsupervised"
    assert found.config["environment.packages.torch"] == "2.13.0"
    assert found.config["kind"] == "object"
    own = {key: value for key, value in found.config.items() if not key.startswith("_wandb")}
    assert not any(isinstance(value, dict) and value for value in own.values()), "flat"
    assert found.curve("loss") == [(0, 0.5), (9, 0.25)]
    expected = {"image_auroc": 0.75, "steps": 6, "n_test": 4, "benchmark.latency_ms": 12.5}
    assert expected.items() <= found.summary.items()
    assert found.summary["benchmark.stages_ms.network"] == 9.0
    assert "pro" not in found.summary
    roc = found.table("curves/image_roc_table")
    assert (roc["columns"], roc["data"]) == (["false_positive_rate", "true_positive_rate"], [[0, 0.5], [1, 1]])


def test_the_table_shows_the_worst_images_first_with_their_pictures(run: Path) -> None:
    table = logged(run, images=3).table("test_images")
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    said = [(row["image"], row["label"], row["verdict"], row["mistake"], row["score"]) for row in rows]
    assert said == [
        ("bent/0.png", "defective", "good", "missed", 2.0),
        ("good/1.png", "good", "anomalous", "false alarm", 3.5),
        ("bent/1.png", "defective", "anomalous", "", 9.0),
    ]
    assert all(row["neighbors"] == "7.png" for row in rows)
    assert [rows[0]["part, mask, overlay"][side] for side in ("height", "width")] == [40, 120]
    assert rows[0]["nearest references"]["height"] == 240


def test_all_that_is_to_be_sent_lies_in_the_run_directory(run: Path) -> None:
    found = logged(run, artifacts=True)
    assert set(found.artifacts) == {"run_table", "model", "index"}
    assert set(found.artifacts["model"]) == {"model.safetensors", "environment.json"}
    assert found.artifacts["index"] == {"scale1.faiss": run / "bank" / "scale1.faiss"}
    files = {name: path for each in found.artifacts.values() for name, path in each.items()}
    assert all(path.is_relative_to(run) and path.is_file() for path in files.values())
    shown = found.table("test_images")["data"][0][6]["path"]
    assert read_image(_with_suffix(files[shown], run)).shape == (40, 120, 3)


def _with_suffix(path: Path, folder: Path) -> Path:
    copy = folder / f"{path.name}.jpg"
    copy.write_bytes(path.read_bytes())
    return copy


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (CprError("There is no mask."), 1, "There is no mask."),
        (KeyError("fp16"), 1, "KeyError('fp16')"),
        (KeyboardInterrupt(), 255, None),
    ],
)
def test_what_ended_the_cell_is_kept(run: Path, error: BaseException, status: int, said: str | None) -> None:
    found = logged(run, error)
    assert found.exit_code == status
    assert found.summary.get("error") == said
    assert found.curve("loss") == [(0, 0.5), (9, 0.25)]


def test_the_next_cell_has_a_run_of_its_own_and_a_resumed_one_keeps_its_id(run: Path) -> None:
    again = settings()
    again.resume = str(run)
    for made in (settings(), settings(), again):
        logger = WandbRunLogger(project="p", save_dir=str(run), name="n")
        assert logger.start(made, run)
        logger.log_metrics({"loss": 1.0}, step=0)
        logger.close(None)
    runs = offline_runs(run)
    ids = [each.run.run_id for each in runs]
    assert len(ids) == 3
    assert len(set(ids)) == 2
    assert all(each.curve("loss") == [(0, 1.0)] for each in runs)


def test_a_cell_that_failed_and_is_tried_again_is_one_run(run: Path) -> None:
    (run.parent / "sweep.yaml").write_text("", encoding="utf-8")
    for error in (CprError("There is no mask."), None):
        logger = WandbRunLogger(project="p", save_dir=str(run), name="n")
        assert logger.start(settings(), run)
        logger.close(error)
    failed, done = offline_runs(run)
    assert failed.run.run_id == done.run.run_id
    assert (failed.exit_code, done.exit_code) == (1, 0)
    assert failed.summary["error"] == "There is no mask."
    assert done.summary["error"] is None, "it takes the place of the first one's"


def test_a_damaged_result_is_said_and_stops_nothing(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / "metrics.json").write_text("{", encoding="utf-8")
    assert logged(run).exit_code == 0
    assert "could not be logged to W&B" in caplog.text
    assert json.loads((run / "environment.json").read_text(encoding="utf-8"))["cores"] == 2
