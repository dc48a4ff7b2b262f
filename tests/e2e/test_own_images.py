"""`dataset=folder`: one's own images, with as much known about them as there is."""

import shutil
from pathlib import Path

import pytest
from e2e_helpers import Result, call_cpr, metrics_of, rows_of, small

METRICS = ("image_auroc", "pixel_auroc", "pixel_ap", "pro")


def train(data: Path, folder: Path, *more: str) -> Result:
    words = [word for word in small(data, folder) if not word.startswith(("dataset", "category"))]
    own = ["dataset=folder", f"dataset.root={data / 'washer'}", "dataset.good=train/good", "category=bolt"]
    return call_cpr(*words, *own, "training.max_steps=2", *more, cwd=folder.parent)


def known(metrics: dict[str, object]) -> set[str]:
    return {name for name in METRICS if metrics[name] is not None}


def test_good_images_alone_make_a_run_that_predicts(tiny: Path, tmp_path: Path):
    run = tmp_path / "run"
    done = train(tiny, run)
    assert done.status == 0, done.err
    metrics = metrics_of(run)
    assert known(metrics) == set()
    assert (metrics["n_reference"], metrics["n_test"], metrics["category"]) == (12, 0, "bolt")
    assert "no metrics" in done.out
    found = call_cpr("predict", f"run={run}", f"images={tiny / 'washer' / 'test'}", "output=p", cwd=tmp_path)
    assert found.status in (0, 1), found.err
    assert len(rows_of(tmp_path / "p" / "predictions.csv")) == 10


def test_good_test_images_alone_have_scores_but_no_metrics(tiny: Path, tmp_path: Path):
    run = tmp_path / "run"
    assert train(tiny, run, "dataset.test_good=test/good").status == 0
    assert known(metrics_of(run)) == set()
    assert metrics_of(run)["n_test"] == 4
    assert [row["label"] for row in rows_of(run / "predictions.csv")] == ["0"] * 4


def test_defective_images_without_masks_have_the_image_metric(tiny: Path, tmp_path: Path):
    run = tmp_path / "run"
    assert train(tiny, run, "dataset.defective=test/scratch").status == 0
    metrics = metrics_of(run)
    assert known(metrics) == {"image_auroc"}
    # Every fifth good image is held out, or there would be nothing good to test with.
    assert (metrics["n_reference"], metrics["n_test"]) == (10, 4)
    rows = rows_of(run / "predictions.csv")
    held_out = {Path(row["path"]).name for row in rows if row["label"] == "0"}
    assert held_out == {"004.png", "009.png"}
    learned = {Path(row["path"]).name for row in rows_of(run / "neighbors.csv")}
    assert not held_out & learned


def test_masks_give_all_metrics(tiny: Path, tmp_path: Path):
    run = tmp_path / "run"
    masks = ["dataset.test_good=test/good", "dataset.defective=test/scratch", "dataset.masks=ground_truth/scratch"]
    assert train(tiny, run, *masks).status == 0
    assert known(metrics_of(run)) == set(METRICS)
    assert (metrics_of(run)["n_reference"], metrics_of(run)["n_test"]) == (12, 6)


def test_folders_of_defects_name_them(data_copy: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.rmtree(data_copy / "washer" / "test" / "good")
    more = ["dataset.defective=test", "dataset.masks=ground_truth", "dataset.kind=texture"]
    assert train(data_copy, run, *more).status == 0
    assert metrics_of(run)["kind"] == "texture"
    assert known(metrics_of(run)) == set(METRICS)
    assert {path.name for path in (run / "heatmaps").iterdir()} == {"good", "scratch", "stain", "missing_chunk"}


def test_new_test_images_can_be_given_later(tiny: Path, tmp_path: Path):
    run = tmp_path / "run"
    assert train(tiny, run).status == 0
    words = ["evaluate", f"run={run}", "output=later"]
    more = ["dataset.test_good=test/good", "dataset.defective=test/stain", "dataset.masks=ground_truth/stain"]
    done = call_cpr(*words, *more, cwd=tmp_path)
    assert done.status == 0, done.err
    assert known(metrics_of(tmp_path / "later")) == set(METRICS)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["dataset.good=null"], "dataset.good is not set"),
        (["dataset.good=nowhere"], "dataset.good="),
        (["dataset.defective=nowhere"], "dataset.defective="),
        (["dataset.test_good=nowhere"], "dataset.test_good="),
        (["dataset.defective=test/scratch", "dataset.masks=nowhere"], "test/scratch/000.png"),
    ],
)
def test_folders_that_are_not_there(more: list[str], named: str, tiny: Path, tmp_path: Path):
    assert named in train(tiny, tmp_path / "run", *more).sentence()
