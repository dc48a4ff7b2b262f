"""The supervised split: what is learned from is never tested, whatever becomes of the data set or of the run."""

import hashlib
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cpr_lightning.choices import Kind, Scenario
from cpr_lightning.data.layouts import MvtecLayout
from cpr_lightning.data.samples import Sample, Samples
from cpr_lightning.data.supervised import RECORD, leave_out_learned, read_learned, split
from cpr_lightning.errors import DataError, RunError, SettingsError
from cpr_lightning.settings import Settings, SupervisedSettings


def settings(root: Path, images: int = 3, seed: int = 66, **others: Any) -> Settings:
    made = Settings(supervised=SupervisedSettings(images=images), seed=seed, scenario=Scenario.supervised)
    made.dataset.root = str(root)
    return replace(made, **others)


def write(path: Path, content: int, mask: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.zeros((12, 12), np.uint8)
    picture[2:5, 2:5] = 255 if mask else content
    assert cv2.imwrite(str(path), picture)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """MVTec AD's layout: 4 good test images and 8 defective ones of two sorts, all different."""
    folder = tmp_path / "data" / "part"
    for number in range(4):
        write(folder / "train" / "good" / f"{number:03d}.png", 200 + number)
        write(folder / "test" / "good" / f"{number:03d}.png", 100 + number)
        for defect, first in (("cut", 10), ("hole", 30)):
            write(folder / "test" / defect / f"{number:03d}.png", first + number)
            write(folder / "ground_truth" / defect / f"{number:03d}_mask.png", 255, mask=True)
    return tmp_path / "data"


def samples_of(root: Path) -> Samples:
    return MvtecLayout(str(root), Kind.object).samples("part")


def contents(samples: list[Sample]) -> set[str]:
    return {hashlib.sha256(sample.image.read_bytes()).hexdigest() for sample in samples}


def test_no_image_is_both_learned_from_and_tested(root: Path, tmp_path: Path):
    everything = samples_of(root)
    for seed in range(10):
        parts = split(everything, settings(root, seed=seed), tmp_path / "run")
        assert len(parts.defective) == 3
        assert len(parts.test) == 9
        assert all(sample.label and sample.mask for sample in parts.defective)
        learned, tested = ({sample.image for sample in part} for part in (parts.defective, parts.test))
        assert not learned & tested
        assert learned | tested == {sample.image for sample in everything.test}
        assert not contents(parts.defective) & contents(parts.test)
        assert parts.references == everything.references


def test_copies_of_what_is_learned_from_are_not_tested_either(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    part = root / "part"
    for image in sorted((part / "test" / "cut").iterdir()):
        shutil.copy(image, part / "test" / "hole" / f"copy_{image.name}")
        mask = part / "ground_truth" / "cut" / f"{image.stem}_mask.png"
        shutil.copy(mask, part / "ground_truth" / "hole" / f"copy_{image.stem}_mask.png")
    parts = split(samples_of(root), settings(root, images=6), tmp_path / "run")
    assert len(contents(parts.defective)) == 6, "six different ones"
    assert not contents(parts.defective) & contents(parts.test)
    copied = sum(sample.defect == "cut" for sample in parts.defective)
    assert copied >= 2
    assert len(parts.test) == 4 + 12 - 6 - copied
    assert f"{copied} more test images are copies" in caplog.text


def test_the_seed_chooses_and_the_same_seed_chooses_the_same(root: Path, tmp_path: Path):
    def chosen(seed: int, of_its_own: int | None = None) -> list[str]:
        wanted = settings(root, seed=seed)
        wanted.supervised.seed = of_its_own
        return [sample.name for sample in split(samples_of(root), wanted, tmp_path / "run").defective]

    assert chosen(1) == chosen(1)
    assert len({tuple(sorted(chosen(seed))) for seed in range(20)}) > 10
    assert chosen(1, 7) == chosen(2, 7) == chosen(7)
    assert chosen(2**40 + 5), "any seed that the rest of the project takes"


def test_seed_42_chooses_as_the_released_code_does(root: Path, tmp_path: Path):
    names = [f"{defect}/{number:03d}" for defect in ("cut", "hole") for number in range(4)]
    np.random.RandomState(42).shuffle(names)
    parts = split(samples_of(root), settings(root, seed=42), tmp_path / "run")
    assert [sample.name for sample in parts.defective] == names[:3]


def test_the_unsupervised_scenario_changes_nothing(root: Path, tmp_path: Path):
    everything = samples_of(root)
    unsupervised = settings(root, scenario=Scenario.unsupervised)
    assert split(everything, unsupervised, tmp_path / "run") is everything
    assert leave_out_learned(everything, unsupervised, tmp_path / "run") is everything
    assert not (tmp_path / "run").exists()


def test_a_stale_record_of_a_run_that_came_to_nothing_is_not_followed(root: Path, tmp_path: Path):
    split(samples_of(root), settings(root, seed=1), tmp_path)
    before = read_learned(tmp_path)
    split(samples_of(root), settings(root, seed=2), tmp_path)
    assert read_learned(tmp_path) != before
    split(samples_of(root), settings(root, scenario=Scenario.unsupervised), tmp_path)
    assert not (tmp_path / RECORD).exists()


def test_too_few_defective_images_are_counted_and_the_folder_is_named(root: Path, tmp_path: Path):
    with pytest.raises(DataError, match=r"supervised\.images=9 .*data/part/test holds 8\. Lower supervised\.images"):
        split(samples_of(root), settings(root, images=9), tmp_path)
    unmasked = samples_of(root)
    tests = [replace(sample, mask=None) if sample.defect == "cut" else sample for sample in unmasked.test]
    with pytest.raises(DataError, match=r"holds 4 \(4 more are copies or have no mask\)"):
        split(replace(unmasked, test=tests), settings(root, images=5), tmp_path)
    with pytest.raises(DataError, match=r"data holds 0\. "):
        split(replace(unmasked, test=[]), settings(root), tmp_path)
    assert not (tmp_path / RECORD).exists()


def test_learning_from_all_of_them_is_possible_but_said(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    parts = split(samples_of(root), settings(root, images=8), tmp_path)
    assert [sample.defect for sample in parts.test] == ["good"] * 4
    assert "no metrics" in caplog.text


def test_later_the_same_images_are_left_out_although_the_data_changed(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    wanted = settings(root)
    parts = split(samples_of(root), wanted, tmp_path)
    renamed, altered, removed = parts.defective
    assert {s.image for s in leave_out_learned(samples_of(root), wanted, tmp_path).test} == {
        s.image for s in parts.test
    }
    assert "not in the data set" not in caplog.text

    # New images before and among the old ones would shift a choice that was only drawn again.
    truth = root / "part" / "ground_truth"
    for number in range(5):
        write(root / "part" / "test" / "a_new_sort" / f"{number}.png", 50 + number)
        write(truth / "a_new_sort" / f"{number}_mask.png", 255, mask=True)
    gone = parts.test[0]
    gone.image.unlink()
    renamed.image.rename(renamed.image.with_name("another_name.png"))
    shutil.copy(truth / renamed.defect / f"{renamed.image.stem}_mask.png", truth / renamed.defect / "another_name.png")
    write(altered.image, 99)
    removed.image.unlink()
    moved = Path(shutil.move(root, tmp_path / "elsewhere"))

    left = leave_out_learned(samples_of(moved), wanted, tmp_path)
    kept = {sample.name for sample in parts.test if sample != gone}
    assert {sample.name for sample in left.test} == kept | {f"a_new_sort/{number}" for number in range(5)}
    assert "1 of the 3 images that the run learned from are not in the data set now" in caplog.text


def test_a_resumed_run_goes_on_with_its_own_images(root: Path, tmp_path: Path):
    first = split(samples_of(root), settings(root), tmp_path)
    for number in range(5):
        write(root / "part" / "test" / "a_new_sort" / f"{number}.png", 50 + number)
        write(root / "part" / "ground_truth" / "a_new_sort" / f"{number}_mask.png", 255, mask=True)
    again = split(samples_of(root), settings(root, seed=3, resume=str(tmp_path)), tmp_path)
    assert again.defective == first.defective
    assert len(again.test) == len(first.test) + 5


def test_a_resumed_run_that_cannot_go_on_alike_says_why(root: Path, tmp_path: Path):
    first = split(samples_of(root), settings(root), tmp_path)
    again = str(tmp_path)
    with pytest.raises(SettingsError, match=r"supervised\.images=4, but .* started with 3 images"):
        split(samples_of(root), settings(root, images=4, resume=again), tmp_path)
    with pytest.raises(SettingsError, match="started with scenario=supervised"):
        split(samples_of(root), settings(root, scenario=Scenario.unsupervised, resume=again), tmp_path)
    write(first.defective[1].image, 77)
    with pytest.raises(DataError, match=rf"{first.defective[1].image} \(supervised\.csv\).* no longer"):
        split(samples_of(root), settings(root, resume=again), tmp_path)


def test_a_run_interrupted_before_its_record_begins_anew(root: Path, tmp_path: Path):
    assert len(split(samples_of(root), settings(root, resume=str(tmp_path)), tmp_path).defective) == 3


def test_without_its_record_a_supervised_run_is_not_tested(root: Path, tmp_path: Path):
    with pytest.raises(RunError, match=r"supervised\.csv is missing.*must not be tested"):
        leave_out_learned(samples_of(root), settings(root), tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"path,defect,sha256\n", b"path,defect,sha256\na,b\n", b'path,defect,sha256\n"a,b,c\n', b"\xff\xfe"],
)
def test_a_damaged_record_is_refused_and_named(content: bytes, tmp_path: Path):
    (tmp_path / RECORD).write_bytes(content)
    with pytest.raises(RunError, match=r"supervised\.csv is damaged"):
        read_learned(tmp_path)


def test_real_categories(shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    data = shared_data / "data" / "mvtec"
    grid = MvtecLayout(str(data)).samples("grid")
    parts = split(grid, settings(data, images=10), tmp_path)
    assert (len(parts.defective), len(parts.test)) == (10, 21 + 57 - 10)
    assert not contents(parts.defective) & contents(parts.test)
    assert "Learning from 10 real defective images; 68 images are left" in caplog.text
    hazelnut = MvtecLayout(str(data)).samples("hazelnut")
    with pytest.raises(DataError, match=r"hazelnut/test holds 8\. Lower supervised\.images"):
        split(hazelnut, settings(data, images=10), tmp_path)
    parts = split(hazelnut, settings(data, images=4), tmp_path)
    assert (len(parts.defective), len(parts.test)) == (4, 2 + 8 - 4)
