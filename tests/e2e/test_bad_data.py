"""Data that cannot be used are refused before any work, with a sentence that names the file."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from e2e_helpers import Result, call_cpr, metrics_of, rows_of, run_cpr, small


def train(data: Path, folder: Path, *more: str, category: str = "washer") -> Result:
    return call_cpr(*small(data, folder, "training.max_steps=1", *more, category=category), cwd=folder.parent)


def mask_of(data: Path) -> Path:
    return data / "washer" / "ground_truth" / "scratch" / "000_mask.png"


def halve(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_a_process_that_meets_a_broken_image_says_one_sentence(data_copy: Path, tmp_path: Path):
    broken = data_copy / "washer" / "train" / "good" / "003.png"
    halve(broken)
    done = run_cpr(*small(data_copy, tmp_path / "run"), cwd=tmp_path)
    said = done.sentence()
    assert str(broken) in said
    assert "dataset.on_error=skip" in said
    assert not (tmp_path / "index_cache").exists()


@pytest.mark.parametrize("place", ["train/good/003.png", "test/good/001.png", "test/stain/001.png"])
@pytest.mark.parametrize("damage", ["half", "empty", "text"])
def test_an_unreadable_image_is_named(place: str, damage: str, data_copy: Path, tmp_path: Path):
    broken = data_copy / "washer" / place
    if damage == "half":
        halve(broken)
    else:
        broken.write_text("no picture" if damage == "text" else "")
    assert str(broken) in train(data_copy, tmp_path / "run").sentence()


def test_a_jpeg_that_is_cut_short_is_named(data_copy: Path, tmp_path: Path):
    good = data_copy / "washer" / "train" / "good"
    picture = cv2.imread(str(good / "003.png"), cv2.IMREAD_COLOR)
    assert picture is not None
    (good / "003.png").unlink()
    cv2.imwrite(str(good / "003.jpg"), picture)
    halve(good / "003.jpg")
    assert str(good / "003.jpg") in train(data_copy, tmp_path / "run").sentence()


def test_unreadable_images_can_be_skipped_and_are_counted(data_copy: Path, tmp_path: Path):
    halve(data_copy / "washer" / "train" / "good" / "003.png")
    (data_copy / "washer" / "test" / "good" / "001.png").write_text("no picture")
    halve(data_copy / "washer" / "ground_truth" / "stain" / "001_mask.png")
    run = tmp_path / "run"
    done = train(data_copy, run, "dataset.on_error=skip")
    assert done.status in (0, 1), done.err
    metrics = metrics_of(run)
    assert (metrics["n_reference"], metrics["n_test"], metrics["n_skipped"]) == (11, 8, 3)
    log = (run / "train.log").read_text()
    for name in ("train/good/003.png", "test/good/001.png", "stain/001_mask.png"):
        assert name in log, "each is named in the log"
    tested = [row["path"] for row in rows_of(run / "predictions.csv")]
    assert len(tested) == 8
    assert not any(path.endswith(("test/good/001.png", "test/stain/001.png")) for path in tested)


def test_skipping_ends_with_1_because_something_was_found(data_copy: Path, tmp_path: Path):
    halve(data_copy / "washer" / "test" / "good" / "001.png")
    assert train(data_copy, tmp_path / "run", "dataset.on_error=skip").status == 1
    done = call_cpr("evaluate", f"run={tmp_path / 'run'}", "output=e", cwd=tmp_path)
    assert done.status == 1, done.err


def test_raising_can_be_asked_for_by_its_name(tiny: Path, tmp_path: Path):
    done = train(tiny, tmp_path / "run", "dataset.on_error=raise")
    assert done.status == 0, done.err


def test_a_missing_mask_is_named(data_copy: Path, tmp_path: Path):
    mask_of(data_copy).unlink()
    said = train(data_copy, tmp_path / "run").sentence()
    assert str(mask_of(data_copy)) in said
    assert "test/scratch/000.png" in said


def test_a_mask_of_another_size_is_named(data_copy: Path, tmp_path: Path):
    cv2.imwrite(str(mask_of(data_copy)), np.full((50, 60), 255, np.uint8))
    said = train(data_copy, tmp_path / "run").sentence()
    assert str(mask_of(data_copy)) in said
    assert "60×50" in said
    assert "96×96" in said


def test_a_black_mask_is_named(data_copy: Path, tmp_path: Path):
    cv2.imwrite(str(mask_of(data_copy)), np.zeros((96, 96), np.uint8))
    said = train(data_copy, tmp_path / "run").sentence()
    assert str(mask_of(data_copy)) in said
    assert "no defect" in said


def test_many_problems_are_counted(data_copy: Path, tmp_path: Path):
    for path in (data_copy / "washer" / "train" / "good").iterdir():
        path.write_text("no picture")
    said = train(data_copy, tmp_path / "run").sentence()
    assert said.count("train/good/") == 3
    assert "9 more" in said
    said = train(data_copy, tmp_path / "run", "dataset.on_error=skip").sentence()
    assert "nothing to learn from" in said


def test_fewer_references_than_neighbors(data_copy: Path, tmp_path: Path):
    for path in sorted((data_copy / "washer" / "train" / "good").iterdir())[3:]:
        path.unlink()
    said = train(data_copy, tmp_path / "run").sentence()
    assert "3 good images" in said
    assert "retrieval.neighbors=4" in said
    assert not list((tmp_path / "index_cache").rglob("index.safetensors"))
    done = train(data_copy, tmp_path / "run", "retrieval.neighbors=3")
    assert done.status == 0, "the remedy that the sentence names helps"


def test_no_reference_at_all(data_copy: Path, tmp_path: Path):
    good = data_copy / "washer" / "train" / "good"
    for path in good.iterdir():
        path.unlink()
    assert f"{good} holds no image" in train(data_copy, tmp_path / "run").sentence()
    shutil.rmtree(good)
    assert f"{good} does not exist" in train(data_copy, tmp_path / "run").sentence()


def test_an_empty_category_and_one_without_tests(data_copy: Path, tmp_path: Path):
    shutil.rmtree(data_copy / "washer" / "test")
    assert f"{data_copy / 'washer' / 'test'} does not exist" in train(data_copy, tmp_path / "run").sentence()
    shutil.rmtree(data_copy / "washer" / "train")
    assert str(data_copy / "washer") in train(data_copy, tmp_path / "run").sentence()


def test_good_test_images_alone_leave_the_metrics_open(data_copy: Path, tmp_path: Path):
    for name in ("scratch", "stain", "missing_chunk"):
        shutil.rmtree(data_copy / "washer" / "test" / name)
    done = train(data_copy, tmp_path / "run")
    assert done.status == 0, done.err
    metrics = metrics_of(tmp_path / "run")
    assert [metrics[key] for key in ("image_auroc", "pixel_auroc", "pixel_ap", "pro")] == [None] * 4
    assert metrics["n_test"] == 4


def test_an_unknown_category_lists_those_there_are(tiny: Path, tmp_path: Path):
    said = train(tiny, tmp_path / "run", category="washr").sentence()
    assert "did you mean washer" in said
    assert "washer, weave" in said


def test_a_root_that_is_missing_unset_or_wrong(tmp_path: Path):
    said = call_cpr("train", "category=bottle", cwd=tmp_path).sentence()
    assert "dataset.root is not set" in said
    said = call_cpr("train", "dataset.root=nowhere", "category=bottle", cwd=tmp_path).sentence()
    assert "dataset.root=" in said
    assert "nowhere is not a folder" in said
    (tmp_path / "bare").mkdir()
    said = call_cpr("train", "dataset.root=bare", "category=bottle", cwd=tmp_path).sentence()
    assert "bare holds no category bottle" in said


def test_a_category_that_is_unset_or_of_an_unknown_kind(data_copy: Path, tmp_path: Path):
    assert "category is not set" in call_cpr("train", "dataset.root=x", cwd=tmp_path).sentence()
    words = [word for word in small(data_copy, tmp_path / "run") if word != "dataset=tiny"]
    said = call_cpr(*words, cwd=tmp_path).sentence()
    assert "dataset.kind=object" in said
    done = call_cpr(*words, "dataset.kind=object", "training.max_steps=0", cwd=tmp_path)
    assert done.status == 0, done.err


def test_a_folder_of_anomaly_sources_that_is_not_there(tiny: Path, tmp_path: Path):
    said = train(tiny, tmp_path / "run", "training.anomaly_sources=nowhere").sentence()
    assert "training.anomaly_sources" in said
    assert "nowhere" in said
