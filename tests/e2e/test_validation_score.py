"""The validation score of a run: from good images held out, whatever the test images show."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from e2e_helpers import Trained, call_cpr, metrics_of, small

HELD_OUT = 3


def trained_with(data: Path, run: Path, cache: Path, *more: str) -> Path:
    words = small(data, run, f"validation.images={HELD_OUT}", f"index_cache={cache}", *more)
    done = call_cpr(*words, cwd=run.parent)
    assert done.status == 0, done.out + done.err
    return run


@pytest.fixture(scope="module")
def validated(tiny: Path, bench: Path) -> Path:
    return trained_with(tiny, bench / "validated", bench / "index_cache")


def test_a_run_has_no_such_score_unless_asked(trained: Trained):
    assert not {"validation_score", "n_validation"} & metrics_of(trained.folder).keys()


def test_the_score_is_among_the_metrics_and_stays_there(validated: Path, tmp_path: Path):
    found = metrics_of(validated)
    assert 0 < found["validation_score"] < 1
    assert found["n_validation"] == HELD_OUT
    again = Path(shutil.copytree(validated, tmp_path / "again"))
    done = call_cpr("evaluate", f"run={again}", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    assert metrics_of(again)["validation_score"] == found["validation_score"]


def test_images_held_out_are_neither_learned_from_nor_matched_with(validated: Path, trained: Trained):
    kept = set((validated / "bank" / "references.txt").read_text(encoding="utf-8").split())
    everything = set((trained.folder / "bank" / "references.txt").read_text(encoding="utf-8").split())
    held_out = everything - kept
    assert len(held_out) == HELD_OUT
    assert metrics_of(validated)["n_reference"] == len(kept) == len(everything) - HELD_OUT
    assert not held_out & set((validated / "neighbors.csv").read_text(encoding="utf-8").replace(",", "\n").split("\n"))
    calibration = json.loads((validated / "calibration.json").read_text(encoding="utf-8"))
    assert calibration["source"] == "validation"
    assert set(calibration["files"]) == held_out


def test_the_test_images_have_no_part_in_it(validated: Path, data_copy: Path, bench: Path, tmp_path: Path):
    rng = np.random.default_rng(0)
    for path in (data_copy / "washer" / "test").rglob("*.png"):
        image = cv2.imread(str(path))
        assert image is not None
        assert cv2.imwrite(str(path), rng.integers(0, 256, image.shape, dtype=np.uint8))
    run = trained_with(data_copy, tmp_path / "run", bench / "index_cache")
    one, other = metrics_of(run), metrics_of(validated)
    assert one["validation_score"] == other["validation_score"]
    assert one["pixel_ap"] != other["pixel_ap"]


def test_with_good_images_alone_it_is_the_same(validated: Path, data_copy: Path, bench: Path, tmp_path: Path):
    shutil.rmtree(data_copy / "washer" / "test")
    shutil.rmtree(data_copy / "washer" / "ground_truth")
    own = ["dataset=folder", f"dataset.root={data_copy / 'washer'}", "dataset.good=train/good", "dataset.kind=object"]
    words = [word for word in small(data_copy, tmp_path / "run") if not word.startswith("dataset")]
    more = [f"validation.images={HELD_OUT}", f"index_cache={bench / 'index_cache'}"]
    done = call_cpr(*words, *own, *more, cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    found = metrics_of(tmp_path / "run")
    assert found["pixel_ap"] is None
    assert found["validation_score"] == metrics_of(validated)["validation_score"]


@pytest.mark.parametrize(
    ("images", "said"), [(-1, "must not be negative"), (9, "Hold out 8 at most"), (1000, "0 of the")]
)
def test_numbers_that_cannot_be_held_out_are_refused(images: int, said: str, tiny: Path, tmp_path: Path):
    refused = call_cpr(*small(tiny, tmp_path / "run", f"validation.images={images}"), cwd=tmp_path).sentence()
    assert f"validation.images={images}" in refused
    assert said in refused
    assert not (tmp_path / "run" / "model.safetensors").exists()
