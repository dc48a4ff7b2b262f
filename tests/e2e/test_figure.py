"""`cpr figure`: each picture shows what the run's other results say."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from e2e_helpers import Trained, call_cpr, rows_of, small
from numpy.typing import NDArray

from cpr_lightning.data.images import read_image, read_mask
from cpr_lightning.visual.lettering import LINE, MARGIN
from cpr_lightning.visual.sheet import fitted

GAP = 6


def draw(name: str, run: Path, output: Path, *more: str) -> NDArray[np.uint8]:
    done = call_cpr("figure", name, f"run={run}", f"output={output}", *more, cwd=output.parent)
    assert done.status == 0, done.out + done.err
    assert done.out.split() == ["Figure", str(output)]
    picture = cv2.imread(str(output))
    assert picture is not None
    return np.asarray(picture[..., ::-1], np.uint8)


def tile(sheet: NDArray[np.uint8], row: int, column: int, side: int) -> NDArray[np.uint8]:
    top, left = 2 * LINE + row * (side + LINE + GAP), MARGIN + column * (side + GAP)
    return sheet[top : top + side, left : left + side]


def test_neighbors_are_those_of_the_predictions(trained: Trained, tmp_path: Path):
    sheet = draw("neighbors", trained.folder, tmp_path / "n.png", "rows=4")
    rows = rows_of(trained.folder / "predictions.csv")
    # Four sorts (three defects and good), one of each, by name.
    first: dict[str, dict[str, str]] = {}
    for row in sorted(rows, key=lambda row: (row["label"] == "0", row["path"])):
        first.setdefault(Path(row["path"]).parent.name, row)
    assert len(first) == 4
    for number, row in enumerate(first.values()):
        for rank in range(1, 5):
            shown = fitted(read_image(Path(row[f"neighbor_{rank}"])), 150)
            assert np.array_equal(tile(sheet, number, rank, 150), shown), (row["path"], rank)
    good = fitted(read_image(Path(first["good"]["path"])), 150)
    assert np.array_equal(tile(sheet, 3, 0, 150), good)
    assert sheet.shape[0] == 2 * LINE + 4 * (150 + LINE + GAP)


def test_maps_stand_beside_the_true_defect_and_the_score(trained: Trained, tmp_path: Path):
    image = trained.data / "washer" / "test" / "scratch" / "000.png"
    sheet = draw("maps", trained.folder, tmp_path / "m.png", f"images={image}")
    assert np.array_equal(tile(sheet, 0, 0, 200), fitted(read_image(image), 200))
    mask = read_mask(trained.data / "washer" / "ground_truth" / "scratch" / "000_mask.png")
    truth = tile(sheet, 0, 1, 200)[..., 0] > 127
    assert truth.mean() == pytest.approx(mask.mean(), rel=0.1)
    assert np.array_equal(truth, cv2.resize(mask.astype(np.float32), (200, 200)) > 0.5)
    heat = tile(sheet, 0, 2, 200).astype(int)
    assert len(np.unique(heat.reshape(-1, 3), axis=0)) > 20, "many degrees of heat"
    # Of an image that is no test image of the run nothing is known.
    elsewhere = Path(shutil.copy(image, tmp_path / "mine.png"))
    unknown = draw("maps", trained.folder, tmp_path / "u.png", f"images={elsewhere}")
    assert np.array_equal(tile(unknown, 0, 2, 200), tile(sheet, 0, 2, 200))
    assert len(np.unique(tile(unknown, 0, 1, 200).reshape(-1, 3), axis=0)) == 1


def test_the_joint_foreground_is_that_of_the_image_and_more(trained: Trained, tmp_path: Path):
    sheet = draw("foreground", trained.folder, tmp_path / "f.png", "rows=2").astype(int)
    for row in range(2):
        own, joint = tile(sheet, row, 1, 200), tile(sheet, row, 2, 200)
        assert (joint >= own - 2).all(), "a maximum"
        assert (joint > own + 20).any()
        assert own.max() > own.min() + 50
        left, image = tile(sheet, row, 3, 200), tile(sheet, row, 0, 200)
        assert np.abs(left - image * joint / 255).max() < 4


def test_figures_lie_in_the_run_unless_told_otherwise(run_copy: Path, tmp_path: Path):
    done = call_cpr("figure", "maps", f"run={run_copy}", "rows=1", cwd=tmp_path)
    assert done.status == 0, done.err
    assert (run_copy / "figures" / "maps.png").is_file()


def test_a_data_set_that_moved_is_found_or_asked_for(run_copy: Path, tiny: Path, tmp_path: Path):
    moved = Path(shutil.copytree(tiny, tmp_path / "moved"))
    config = run_copy / "config.yaml"
    other = tmp_path / "other"
    (other / "bottle").mkdir(parents=True)
    text = config.read_text(encoding="utf-8")
    assert f"root: {tiny}" in text
    config.write_text(text.replace(f"root: {tiny}", f"root: {other}"), encoding="utf-8")
    assert str(other) in call_cpr("figure", "maps", f"run={run_copy}", cwd=tmp_path).sentence()
    draw("maps", run_copy, tmp_path / "m.png", f"dataset.root={moved}", "rows=1")
    draw("maps", run_copy, tmp_path / "i.png", f"images={moved / 'washer' / 'test' / 'good'}", "rows=2")


def test_speed_needs_runs_that_were_timed(run_copy: Path, tmp_path: Path):
    said = call_cpr("figure", "speed", f"runs={tmp_path}", cwd=tmp_path).sentence()
    assert "cpr benchmark run=" in said
    words = [f"run={run_copy}", "runs=4", "runtime=eager", "device=cpu"]
    assert call_cpr("benchmark", *words, cwd=tmp_path).status == 0
    for metric in ("pixel_ap", "image_auroc"):
        done = call_cpr("figure", "speed", f"runs={tmp_path}", f"metric={metric}", cwd=tmp_path)
        assert done.status == 0, done.err
        assert cv2.imread(str(tmp_path / "figures" / "speed.png")) is not None


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["map"], ["`map`", "Did you mean maps", "neighbors"]),
        (["maps"], ["needs run=", "figure maps"]),
        (["speed"], ["needs runs="]),
        (["maps", "runs=x"], ["runs", "run"]),
        (["maps", "run=nowhere"], ["run=nowhere", "not a folder"]),
        (["speed", "runs=nowhere"], ["nowhere", "not a folder"]),
        (["speed", "runs=.", "metric=ap"], ["metric=ap", "pixel_ap"]),
        (["maps", "run={run}", "rows=0"], ["rows=0", "1 or more"]),
        (["maps", "run={run}", "images=nowhere"], ["images=nowhere"]),
        (["maps", "run={run}", "output=a.jpg"], ["a.jpg", ".png"]),
        (["maps", "run={run}", "dataset.root={run}"], ["dataset.root={run}"]),
        (["maps", "run={run}", "images={data}/washer/test/good", "dataset.root={run}"], ["dataset.root={run}"]),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_leaves_nothing(
    words: list[str], parts: list[str], trained: Trained, tmp_path: Path
):
    filled = [word.format(run=trained.folder, data=trained.data) for word in words]
    said = call_cpr("figure", *filled, cwd=tmp_path).sentence()
    for part in parts:
        assert part.format(run=trained.folder) in said
    assert list(tmp_path.iterdir()) == []


def test_a_texture_has_no_foreground_to_show(tiny: Path, bench: Path, tmp_path: Path):
    run = tmp_path / "run"
    words = small(tiny, run, "training.max_steps=0", f"index_cache={bench / 'index_cache'}", category="weave")
    assert call_cpr(*words, cwd=tmp_path).status == 0
    said = call_cpr("figure", "foreground", f"run={run}", cwd=tmp_path).sentence()
    assert "texture" in said
    assert not (run / "figures").exists()


def test_a_run_that_targets_nothing_has_no_neighbors_to_show(tiny: Path, bench: Path, tmp_path: Path):
    run = tmp_path / "run"
    more = ["training.max_steps=0", "ablation=whole_bank", f"index_cache={bench / 'index_cache'}"]
    assert call_cpr(*small(tiny, run, *more), cwd=tmp_path).status == 0
    said = call_cpr("figure", "neighbors", f"run={run}", cwd=tmp_path).sentence()
    assert "ablation is whole_bank" in said
    assert "ablation=full" in said
    draw("foreground", run, tmp_path / "f.png", "rows=1")


def test_the_help_names_all_figures(tmp_path: Path):
    done = call_cpr("figure", "--help", cwd=tmp_path)
    assert done.status == 0
    for word in ("maps", "neighbors", "foreground", "speed"):
        assert f"cpr figure {word}" in done.out
    assert "dataset.root" in call_cpr("figure", "maps", "--help", cwd=tmp_path).out
    assert call_cpr("figure", cwd=tmp_path).status == 2
