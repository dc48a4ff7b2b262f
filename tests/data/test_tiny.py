"""The generated dataset: layout, exact masks, same seed same bytes, never half a dataset."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from cpr_lightning.data import tiny
from cpr_lightning.data.tiny import TINY_CATEGORIES, image_generator, render, write_tiny
from cpr_lightning.data.tiny_parts import DEFECTS
from cpr_lightning.errors import DataError, SettingsError

EVERY_DEFECT = [(category, defect) for category in DEFECTS for defect in DEFECTS[category]]


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def write_small(root: Path, seed: int = 0) -> Path:
    return write_tiny(root, size=64, train=3, test_good=2, test_per_defect=1, seed=seed)


def test_the_layout_is_that_of_mvtec(tmp_path: Path):
    root = tmp_path / "new" / "tiny"
    assert write_small(root) == root
    expected = set()
    for category in TINY_CATEGORIES:
        expected |= {f"{category}/train/good/00{index}.png" for index in range(3)}
        expected |= {f"{category}/test/good/00{index}.png" for index in range(2)}
        for defect in DEFECTS[category]:
            expected |= {
                f"{category}/test/{defect}/000.png",
                f"{category}/ground_truth/{defect}/000_mask.png",
            }
    assert set(contents(root)) == expected
    assert {path.name for path in root.iterdir()} == set(TINY_CATEGORIES)  # nothing temporary is left
    assert set(TINY_CATEGORIES.values()) == {"object", "texture"}
    assert [len(DEFECTS[category]) for category in TINY_CATEGORIES] == [3, 3]


def test_files_hold_the_drawn_image_and_a_mask_of_0_and_255(tmp_path: Path):
    root = write_small(tmp_path, seed=4)
    for category, defect in EVERY_DEFECT:
        drawn = render(category, defect, 64, image_generator(4, category, f"test/{defect}", 0))
        image = cv2.imread(str(root / category / "test" / defect / "000.png"), cv2.IMREAD_COLOR)
        mask = cv2.imread(str(root / category / "ground_truth" / defect / "000_mask.png"), cv2.IMREAD_UNCHANGED)
        assert image is not None
        assert mask is not None
        assert np.array_equal(image[..., ::-1], drawn.image)
        assert np.array_equal(mask, drawn.mask * np.uint8(255))


def test_same_seed_same_bytes_and_other_seeds_differ(tmp_path: Path):
    first, again, other = (
        contents(write_small(tmp_path / name, seed)) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again
    assert all(first[name] != other[name] for name in first if "ground_truth" not in name)
    images = [data for name, data in first.items() if "ground_truth" not in name]
    assert len(set(images)) == len(images)


def test_an_image_does_not_depend_on_how_many_are_written(tmp_path: Path):
    few = contents(write_small(tmp_path / "few"))
    more = contents(write_tiny(tmp_path / "more", size=64, train=4, test_good=3, test_per_defect=2))
    assert all(more[name] == data for name, data in few.items())


@pytest.mark.parametrize(("category", "defect"), EVERY_DEFECT)
def test_the_mask_covers_exactly_what_changed_visibly(category: str, defect: str):
    for index in range(6):
        drawn = render(category, defect, 128, image_generator(0, category, f"test/{defect}", index))
        change = np.abs(drawn.image.astype(int) - drawn.clean.astype(int)).max(axis=2)
        assert change[~drawn.mask].max() <= 9  # 8 levels and one of rounding
        unclipped = drawn.mask & (drawn.clean > 12).all(axis=2) & (drawn.clean < 243).all(axis=2)
        assert change[unclipped].min() >= 7
        assert change[drawn.mask].mean() > 30  # a person sees it
        assert 0.002 < drawn.mask.mean() < 0.06


@pytest.mark.parametrize("category", TINY_CATEGORIES)
def test_good_images_vary_and_have_no_defect(category: str):
    drawn = [render(category, None, 64, image_generator(0, category, "train/good", i)) for i in range(4)]
    assert all(not each.mask.any() and np.array_equal(each.image, each.clean) for each in drawn)
    images = [each.image.astype(float) for each in drawn]
    assert all(np.abs(images[0] - image).mean() > 3 for image in images[1:])


@pytest.mark.parametrize("size", [32, 65, 200])
def test_any_size_can_be_drawn(size: int):
    for category, defect in EVERY_DEFECT:
        for seed in range(3):
            drawn = render(category, defect, size, np.random.default_rng(seed))
            assert drawn.image.shape == (size, size, 3)
            assert drawn.mask.any()


def test_an_existing_category_is_refused_and_left_alone(tmp_path: Path):
    (tmp_path / "weave").mkdir()
    with pytest.raises(DataError, match=r"weave.*delete it"):
        write_small(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["weave"]


def test_an_interrupted_call_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written = tiny._write_png

    def failing(path: Path, image: np.ndarray) -> None:
        if "weave" in path.parts:
            raise KeyboardInterrupt
        written(path, image)

    monkeypatch.setattr(tiny, "_write_png", failing)
    with pytest.raises(KeyboardInterrupt):
        write_small(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["size", "train", "test_good", "test_per_defect"])
def test_settings_that_cannot_be_used_are_named(tmp_path: Path, key: str):
    with pytest.raises(SettingsError, match=f"^{key} is 0"):
        write_tiny(tmp_path, **{key: 0})
