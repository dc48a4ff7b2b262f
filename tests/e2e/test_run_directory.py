"""What a training leaves behind."""

import json
from pathlib import Path

import cv2
import pytest
from e2e_helpers import Trained, call_cpr, half_files, metrics_of, rows_of, small
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score


def test_it_holds_everything_that_the_design_names(trained: Trained):
    for name in (
        "config.yaml",
        "metrics.json",
        "predictions.csv",
        "model.safetensors",
        "neighbors.csv",
        "report.html",
        "train.log",
        "environment.json",
        "calibration.json",
        "bank/scale1.faiss",
        "bank/scale2.faiss",
        "training_log/version_0/metrics.csv",
    ):
        path = trained.folder / name
        assert path.is_file(), name
        assert path.stat().st_size > 0, name
    assert half_files(trained.folder) == []


def test_the_terminal_says_how_good_it_is_and_where_it_lies(trained: Trained):
    metrics = metrics_of(trained.folder)
    assert str(trained.folder) in trained.said.out
    for key in ("image_auroc", "pixel_auroc", "pixel_ap", "pro"):
        assert f"{metrics[key]:.4f}" in trained.said.out


def test_metrics_have_the_named_keys(trained: Trained):
    metrics = metrics_of(trained.folder)
    for key in ("image_auroc", "pixel_auroc", "pixel_ap", "pro"):
        assert 0 <= metrics[key] <= 1, key
    facts = {
        "dataset": "tiny",
        "category": "washer",
        "variant": "cpr",
        "ablation": "full",
        "scenario": "unsupervised",
        "backbone": "resnet18",
        "seed": 66,
        "steps": 6,
        "n_reference": 12,
        "n_test": 10,
        "n_skipped": 0,
    }
    assert {key: metrics[key] for key in facts} == facts
    assert metrics["training_seconds"] > 0
    assert metrics["seconds_per_test_image"] > 0


def test_predictions_have_the_named_columns_and_a_row_for_each_test_image(trained: Trained):
    rows = rows_of(trained.folder / "predictions.csv")
    assert list(rows[0]) == [
        "path",
        "label",
        "score",
        "threshold",
        "is_anomalous",
        *(f"neighbor_{rank}" for rank in range(1, 5)),
    ]
    images = sorted(str(path) for path in (trained.data / "washer" / "test").rglob("*.png"))
    assert sorted(row["path"] for row in rows) == images
    references = {str(path) for path in (trained.data / "washer" / "train" / "good").iterdir()}
    threshold = json.loads((trained.folder / "calibration.json").read_text())["threshold"]
    for row in rows:
        assert row["label"] == ("0" if "/good/" in row["path"] else "1")
        assert float(row["threshold"]) == threshold
        assert row["is_anomalous"] == str(int(float(row["score"]) > threshold))
        neighbors = {row[f"neighbor_{rank}"] for rank in range(1, 5)}
        assert len(neighbors) == 4
        assert neighbors <= references


def test_the_image_metric_is_that_of_the_predictions(trained: Trained):
    rows = rows_of(trained.folder / "predictions.csv")
    expected = roc_auc_score([int(row["label"]) for row in rows], [float(row["score"]) for row in rows])
    assert metrics_of(trained.folder)["image_auroc"] == pytest.approx(expected, abs=1e-6)


def test_each_reference_has_other_references_as_neighbors(trained: Trained):
    rows = rows_of(trained.folder / "neighbors.csv")
    assert [row["path"] for row in rows] == sorted(str(p) for p in (trained.data / "washer/train/good").iterdir())
    for row in rows:
        others = [row[f"neighbor_{rank}"] for rank in range(1, 5)]
        assert row["path"] not in others
        assert len(set(others)) == 4


def test_there_is_a_heat_map_for_each_test_image(trained: Trained):
    tested = {path.relative_to(trained.data / "washer/test") for path in (trained.data / "washer/test").rglob("*.png")}
    shown = list((trained.folder / "heatmaps").rglob("*.png"))
    assert {path.relative_to(trained.folder / "heatmaps") for path in shown} == tested
    for path in shown:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        assert picture is not None, path
        assert min(picture.shape[:2]) >= 96
        assert picture.std() > 1, f"{path} is of one colour"


def test_the_report_shows_every_heat_map(trained: Trained):
    page = (trained.folder / "report.html").read_text(encoding="utf-8")
    for path in (trained.folder / "heatmaps").rglob("*.png"):
        assert path.relative_to(trained.folder).as_posix() in page


def test_the_environment_and_the_log_say_how_it_was_made(trained: Trained):
    made = json.loads((trained.folder / "environment.json").read_text())
    assert "category=washer" in made["command"]
    assert {"torch", "lightning", "timm"} <= made["packages"].keys()
    assert "Index" in (trained.folder / "train.log").read_text()


def test_the_training_log_has_the_loss_of_each_step(trained: Trained):
    rows = rows_of(trained.folder / "training_log/version_0/metrics.csv")
    assert [row["step"] for row in rows] == [str(step) for step in range(6)]
    for row in rows:
        assert float(row["loss"]) == pytest.approx(float(row["loss_same"]) + float(row["loss_different"]), abs=1e-5)


def test_the_model_holds_what_was_learned_and_not_the_backbone(trained: Trained):
    names = load_file(trained.folder / "model.safetensors").keys()
    assert {name.split(".")[0] for name in names} == {"codebook", "foreground", "branch"}


def test_nothing_is_written_beside_the_run(trained: Trained):
    for name in ("outputs", "lightning_logs", "checkpoints", "wandb"):
        assert not (trained.folder.parent / name).exists()


def test_a_second_run_in_the_same_folder_is_refused_and_changes_nothing(trained: Trained, tiny: Path, tmp_path: Path):
    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()}

    before = contents()
    assert trained.folder / ".hydra" / "overrides.yaml" in before
    refused = call_cpr(*small(tiny, trained.folder, "seed=5"), cwd=tmp_path)
    assert "already holds a run" in refused.sentence()
    assert contents() == before
