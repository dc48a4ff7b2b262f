"""Every data set of the paper, in its layout on disk: trained and tested by the command line."""

import csv
import json
from pathlib import Path
from statistics import fmean, pstdev

import cv2
import numpy as np
import pytest
from e2e_helpers import Result, call_cpr, metrics_of, rows_of, small

from miniatures import WRITERS, btad, mask, mvtec, mvtec3d, visa, write

METRICS = ("image_auroc", "pixel_auroc", "pixel_ap", "pro")
# data set: a category, its kind, good and defective test images, validation images
EXPECTED = {
    "mvtec": ("bottle", "object", 3, 4, 0),
    "mvtec3d": ("bagel", "object", 3, 4, 3),
    "btad": ("02", "texture", 3, 2, 0),
    "visa": ("pcb1", "object", 3, 3, 0),
    "mvtec_ad2": ("can", "object", 3, 3, 3),
}


def words(dataset: str, root: Path, run: Path, category: str, *more: str) -> list[str]:
    kept = [word for word in small(root, run, category=category) if word != "dataset=tiny"]
    own = [f"dataset={dataset}", "image_size=64", "training.max_steps=2", "retrieval.neighbors=3"]
    return [*kept, *own, *more]


def train(dataset: str, root: Path, run: Path, category: str, *more: str) -> Result:
    return call_cpr(*words(dataset, root, run, category, *more), cwd=run.parent)


@pytest.mark.parametrize("dataset", EXPECTED)
def test_a_data_set_trains_and_is_tested(dataset: str, tmp_path: Path):
    category, kind, good, defective, validation = EXPECTED[dataset]
    root, run = WRITERS[dataset](tmp_path / "data"), tmp_path / "run"
    done = train(dataset, root, run, category)
    assert done.status == 0, done.out + done.err
    metrics = metrics_of(run)
    assert (metrics["dataset"], metrics["category"], metrics["kind"]) == (dataset, category, kind)
    assert (metrics["n_reference"], metrics["n_test"], metrics["n_skipped"]) == (8, good + defective, 0)
    assert all(0 <= metrics[name] <= 1 for name in METRICS), "masks were read: every metric is known"
    labels = [row["label"] for row in rows_of(run / "predictions.csv")]
    assert (labels.count("0"), labels.count("1")) == (good, defective)
    calibration = json.loads((run / "calibration.json").read_text())
    assert calibration["source"] == ("validation" if validation else "training")
    assert calibration["images"] == len(calibration["files"]) == (validation or 8)
    learned = {row["path"] for row in rows_of(run / "neighbors.csv")}
    assert learned.isdisjoint(calibration["files"]) if validation else learned == set(calibration["files"])
    again = call_cpr("evaluate", f"run={run}", "output=again", cwd=tmp_path)
    assert again.status == 0, again.err
    assert metrics_of(tmp_path / "again")["pixel_ap"] == metrics["pixel_ap"]


def test_the_threshold_is_that_of_validation_images_scored_as_new_parts(tmp_path: Path):
    root, run = mvtec3d(tmp_path / "data", ["bagel"]), tmp_path / "run"
    assert train("mvtec3d", root, run, "bagel", "calibration.sigmas=2").status == 0
    held = root / "bagel" / "validation" / "good" / "rgb"
    done = call_cpr("predict", f"run={run}", f"images={held}", f"output={tmp_path / 'p'}", cwd=tmp_path)
    assert done.status in (0, 1), done.err
    rows = rows_of(tmp_path / "p" / "predictions.csv")
    scores = [float(row["score"]) for row in rows]
    calibration = json.loads((run / "calibration.json").read_text())
    assert calibration["files"] == [row["path"] for row in rows]
    assert calibration["threshold"] == pytest.approx(fmean(scores) + 2 * pstdev(scores), rel=1e-5)


def test_only_so_many_validation_images_are_taken_as_were_asked_for(tmp_path: Path):
    root, run = mvtec3d(tmp_path / "data", ["bagel"]), tmp_path / "run"
    assert train("mvtec3d", root, run, "bagel", "calibration.images=2", "training.max_steps=0").status == 0
    files = json.loads((run / "calibration.json").read_text())["files"]
    assert [Path(name).name for name in files] == ["010.png", "012.png"]


def test_another_layout_is_named_before_any_work(tmp_path: Path):
    root = btad(tmp_path / "data")
    for category in ("01", "bottle"):
        said = train("mvtec", root / "BTech_Dataset_transformed", tmp_path / "run", category).sentence()
        assert "looks like BTAD" in said
        assert "use dataset=btad" in said
    assert not (tmp_path / "index_cache").exists()
    done = train("btad", root / "BTech_Dataset_transformed", tmp_path / "again", "01", "training.max_steps=0")
    assert done.status == 0, "the remedy that the sentence names helps"


def test_a_table_that_names_missing_files_is_refused(tmp_path: Path):
    root = visa(tmp_path / "data")
    gone = root / "candle" / "Data" / "Images" / "Normal" / "0004.JPG"
    gone.unlink()
    said = train("visa", root, tmp_path / "run", "candle").sentence()
    assert "1cls.csv, line 6" in said
    assert str(gone) in said


def test_masks_in_colour_or_with_other_values_are_refused(tmp_path: Path):
    root = mvtec(tmp_path / "data", ["bottle"])
    path = root / "bottle" / "ground_truth" / "contamination" / "001_mask.png"
    red = np.zeros((64, 64, 3), np.uint8)
    red[20:30, 20:30, 2] = 255
    assert cv2.imwrite(str(path), red)
    said = train("mvtec", root, tmp_path / "colour", "bottle").sentence()
    assert str(path) in said
    assert "in colour" in said
    for name in ("broken_large/000", "broken_large/001", "contamination/000", "contamination/001"):
        write(root / "bottle" / "ground_truth" / f"{name}_mask.png", mask(1))
    said = train("mvtec", root, tmp_path / "values", "bottle").sentence()
    assert "holds the values 0, 1" in said
    assert "dataset.mask_threshold=0" in said
    done = train("mvtec", root, tmp_path / "run", "bottle", "dataset.mask_threshold=0", "training.max_steps=0")
    assert done.status == 0, "the remedy that the sentence names helps"
    assert all(metrics_of(tmp_path / "run")[name] is not None for name in METRICS)
    said = train("mvtec", root, tmp_path / "off", "bottle", "dataset.mask_threshold=255").sentence()
    assert "dataset.mask_threshold=255 must lie in [0, 254]" in said


def test_a_category_in_another_case_is_answered_with_the_right_one(tmp_path: Path):
    root = mvtec(tmp_path / "data", ["bottle"])
    assert "did you mean bottle?" in train("mvtec", root, tmp_path / "run", "Bottle").sentence()


def test_visa_runs_from_a_table_in_another_order(tmp_path: Path):
    root, run = visa(tmp_path / "data", ["candle"]), tmp_path / "run"
    table = root / "split_csv" / "1cls.csv"
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([row[::-1] for row in [rows[0], *rows[:0:-1]]])
    assert train("visa", root, run, "candle", "training.max_steps=0").status == 0
    assert metrics_of(run)["n_test"] == 6
