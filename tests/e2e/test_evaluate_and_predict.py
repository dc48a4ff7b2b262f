"""Using a finished run: the same numbers again, also elsewhere, and on single images."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
from e2e_helpers import Result, Trained, call_cpr, numbers_of, rows_of, run_cpr, small
from safetensors.torch import save_file


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_evaluate_gives_the_same_numbers_again(trained: Trained, run_copy: Path, tmp_path: Path):
    for name in ("metrics.json", "predictions.csv", "report.html"):
        (run_copy / name).unlink()
    done = call_cpr("evaluate", f"run={run_copy}", cwd=tmp_path)
    assert done.status == 0, done.err
    assert numbers_of(run_copy) == numbers_of(trained.folder)
    assert rows_of(run_copy / "predictions.csv") == rows_of(trained.folder / "predictions.csv")
    assert f"{numbers_of(trained.folder)['image_auroc']:.4f}" in done.out
    assert (run_copy / "report.html").is_file()


def test_evaluate_after_the_data_have_moved(trained: Trained, tiny: Path, tmp_path: Path):
    moved = Path(shutil.copytree(tiny / "washer", tmp_path / "elsewhere" / "washer")).parent
    done = call_cpr("evaluate", f"run={trained.folder}", f"dataset.root={moved}", "output=again", cwd=tmp_path)
    assert done.status == 0, done.err
    assert numbers_of(tmp_path / "again") == numbers_of(trained.folder)
    paths = [row["path"] for row in rows_of(tmp_path / "again" / "predictions.csv")]
    assert len(paths) == 10
    assert all(path.startswith(str(moved)) for path in paths)


def test_evaluate_elsewhere_leaves_the_run_as_it_was(trained: Trained, tmp_path: Path):
    before = contents(trained.folder)
    done = call_cpr("evaluate", f"run={trained.folder}", "output=new/folder", cwd=tmp_path)
    assert done.status == 0, done.err
    assert contents(trained.folder) == before
    assert (tmp_path / "new" / "folder" / "metrics.json").is_file()


def test_a_copied_run_needs_nothing_of_the_old_place(trained: Trained, run_copy: Path, tiny: Path, tmp_path: Path):
    image = tiny / "washer" / "test" / "scratch" / "000.png"
    done = call_cpr("predict", f"run={run_copy}", f"images={image}", "output=p", cwd=tmp_path)
    assert done.status in (0, 1), done.err
    expected = {row["path"]: float(row["score"]) for row in rows_of(trained.folder / "predictions.csv")}
    # Alone in its batch the last digits of an image's features may differ.
    score = float(rows_of(tmp_path / "p" / "predictions.csv")[0]["score"])
    assert score == pytest.approx(expected[str(image)], rel=1e-5)


def test_predict_on_a_nested_folder_scores_as_the_test_did(trained: Trained, tiny: Path, tmp_path: Path):
    folder = tiny / "washer" / "test"
    done = call_cpr("predict", f"run={trained.folder}", f"images={folder}", "output=p", cwd=tmp_path)
    rows = rows_of(tmp_path / "p" / "predictions.csv")
    tested = {row["path"]: row for row in rows_of(trained.folder / "predictions.csv")}
    assert {row["path"] for row in rows} == tested.keys()
    for row in rows:
        assert row == tested[row["path"]] | {"label": ""}
    found = sum(row["is_anomalous"] == "1" for row in rows)
    assert 0 < found < len(rows), "the tiny run must tell some apart for this test to mean anything"
    assert done.status == 1
    assert f"{found} of 10 images are anomalous" in done.out
    shown = {path.relative_to(tmp_path / "p" / "heatmaps") for path in (tmp_path / "p" / "heatmaps").rglob("*.png")}
    assert shown == {Path(row["path"]).relative_to(folder) for row in rows}
    assert (tmp_path / "p" / "report.html").is_file()


def first_image(trained: Trained, verdict: str) -> str:
    rows = rows_of(trained.folder / "predictions.csv")
    return next(row["path"] for row in rows if row["is_anomalous"] == verdict)


def test_a_process_that_finds_a_defective_part_ends_with_1(trained: Trained, tmp_path: Path):
    image = first_image(trained, "1")
    done = run_cpr("predict", f"run={trained.folder}", f"images={image}", "output=p", cwd=tmp_path)
    assert done.status == 1, done.err
    assert "Traceback" not in done.err
    assert [row["is_anomalous"] for row in rows_of(tmp_path / "p" / "predictions.csv")] == ["1"]


def test_good_parts_alone_end_with_0(trained: Trained, tmp_path: Path):
    image = first_image(trained, "0")
    done = call_cpr("predict", f"run={trained.folder}", f"images={image}", "output=p", cwd=tmp_path)
    assert done.status == 0, done.err
    assert [row["is_anomalous"] for row in rows_of(tmp_path / "p" / "predictions.csv")] == ["0"]


def test_predict_reads_what_cameras_write(trained: Trained, tiny: Path, tmp_path: Path):
    picture = cv2.imread(str(tiny / "washer" / "test" / "good" / "000.png"), cv2.IMREAD_COLOR)
    assert picture is not None
    images = tmp_path / "camera"
    images.mkdir()
    cv2.imwrite(str(images / "grey.png"), cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    cv2.imwrite(str(images / "deep.png"), picture.astype(np.uint16) * 257)
    cv2.imwrite(str(images / "large.jpg"), cv2.resize(picture, (301, 203)))
    cv2.imwrite(str(images / "with space, and ü.bmp"), picture)
    done = call_cpr("predict", f"run={trained.folder}", "images=camera", "output=p", cwd=tmp_path)
    assert done.status in (0, 1), done.err
    rows = {Path(row["path"]).name: row for row in rows_of(tmp_path / "p" / "predictions.csv")}
    assert rows.keys() == {"grey.png", "deep.png", "large.jpg", "with space, and ü.bmp"}
    tested = rows_of(trained.folder / "predictions.csv")
    score = next(float(row["score"]) for row in tested if row["path"].endswith("test/good/000.png"))
    for name in ("with space, and ü.bmp", "deep.png"):
        assert float(rows[name]["score"]) == pytest.approx(score, rel=1e-5), name


def two_images(tiny: Path, folder: Path) -> Path:
    """A good image and a file that is none."""
    folder.mkdir()
    shutil.copy(tiny / "washer" / "test" / "good" / "003.png", folder / "good.png")
    (folder / "broken.png").write_bytes((tiny / "washer" / "test" / "good" / "000.png").read_bytes()[:300])
    return folder


def test_predict_stops_at_an_unreadable_image(trained: Trained, tiny: Path, tmp_path: Path):
    two_images(tiny, tmp_path / "in")
    done = call_cpr("predict", f"run={trained.folder}", "images=in", "output=p", cwd=tmp_path)
    assert "in/broken.png" in done.sentence()
    assert "go on without it: on_error=skip" in done.sentence(), "the key that this verb takes"
    assert not (tmp_path / "p").exists()


def test_predict_can_skip_an_unreadable_image_and_says_so(trained: Trained, tiny: Path, tmp_path: Path):
    two_images(tiny, tmp_path / "in")
    words = ["predict", f"run={trained.folder}", "images=in", "output=p", "on_error=skip"]
    done = call_cpr(*words, cwd=tmp_path)
    assert done.status == 1, "something was found on the way"
    assert "broken.png" in done.err
    assert [Path(row["path"]).name for row in rows_of(tmp_path / "p" / "predictions.csv")] == ["good.png"]


def refused(words: list[str], cwd: Path) -> str:
    done: Result = call_cpr(*words, cwd=cwd)
    return done.sentence()


def test_predict_names_what_it_cannot_use(trained: Trained, tmp_path: Path):
    run = f"run={trained.folder}"
    (tmp_path / "empty").mkdir()
    assert "images=nowhere" in refused(["predict", run, "images=nowhere"], tmp_path)
    assert "images=empty holds no image" in refused(["predict", run, "images=empty"], tmp_path)
    (tmp_path / "notes.txt").write_text("no picture")
    assert "notes.txt" in refused(["predict", run, "images=notes.txt"], tmp_path)
    assert not (tmp_path / "outputs").exists()


def test_predict_writes_below_outputs_unless_told_otherwise(trained: Trained, tiny: Path, tmp_path: Path):
    image = tiny / "washer" / "test" / "good" / "000.png"
    assert call_cpr("predict", f"run={trained.folder}", f"images={image}", cwd=tmp_path).status in (0, 1)
    assert [path.parent.parent for path in tmp_path.rglob("predictions.csv")] == [tmp_path / "outputs" / "predict"]


def test_a_run_made_with_relative_paths_works_from_any_folder(tiny: Path, tmp_path: Path):
    first, elsewhere = tmp_path / "first", tmp_path / "elsewhere"
    first.mkdir()
    elsewhere.mkdir()
    (first / "data").symlink_to(tiny)
    save_file(timm.create_model("resnet18").state_dict(), first / "weights.safetensors")
    words = [w for w in small(tiny, first / "run") if not w.startswith(("dataset.root", "hydra", "index_cache"))]
    relative = ["dataset.root=data", "backbone.weights=weights.safetensors", "hydra.run.dir=run"]
    done = call_cpr(*words, *relative, "training.max_steps=1", cwd=first)
    assert done.status == 0, done.err
    done = call_cpr("evaluate", "run=../first/run", "output=e", cwd=elsewhere)
    assert done.status == 0, done.err
    assert numbers_of(elsewhere / "e") == numbers_of(first / "run")
    (first / "run" / "metrics.json").unlink()
    done = call_cpr("train", "resume=../first/run", "training.max_steps=2", cwd=elsewhere)
    assert done.status == 0, done.err
    assert numbers_of(first / "run")["steps"] == 2
