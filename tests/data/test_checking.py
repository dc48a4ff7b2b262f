"""Bad images and masks are found before any work, and left out only when asked."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cpr_lightning.choices import Kind, OnError
from cpr_lightning.data.checking import check
from cpr_lightning.data.samples import Sample, Samples
from cpr_lightning.errors import DataError


def image(path: Path, height: int = 20, width: int = 30) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), 120, np.uint8))
    return path


def mask(path: Path, height: int = 20, width: int = 30, value: int = 255) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    marked = np.zeros((height, width), np.uint8)
    marked[5:8, 5:8] = value
    assert cv2.imwrite(str(path), marked)
    return path


def category(root: Path, references: int = 4) -> Samples:
    good = [Sample(image(root / f"good{number}.png"), None, 0, "good") for number in range(references)]
    test = [
        Sample(image(root / "test.png"), None, 0, "good"),
        Sample(image(root / "cut.png"), mask(root / "cut_mask.png"), 1, "cut"),
        Sample(image(root / "hole.png"), None, 1, "hole"),
    ]
    return Samples("part", Kind.object, good, test)


@pytest.mark.parametrize("on_error", list(OnError))
def test_good_data_passes_unchanged(tmp_path: Path, on_error: OnError):
    samples = category(tmp_path)
    checked = check(samples, on_error)
    assert checked.samples == samples
    assert checked.problems == []


def spoil_image(samples: Samples) -> str:
    samples.test[1].image.write_bytes(b"no image")
    return r"cut\.png is not an image"


def spoil_mask(samples: Samples) -> str:
    found = samples.test[1].mask
    assert found is not None
    found.write_bytes(found.read_bytes()[:40])
    return r"cut_mask\.png is cut short"


def shrink_mask(samples: Samples) -> str:
    found = samples.test[1].mask
    assert found is not None
    mask(found, 20, 29)
    return r"cut_mask\.png is 29×20 pixels, but its image .*cut\.png is 30×20"


def blacken_mask(samples: Samples) -> str:
    found = samples.test[1].mask
    assert found is not None
    mask(found, value=0)
    return r"cut_mask\.png marks no defect .*cut\.png"


def grey_mask(samples: Samples) -> str:
    found = samples.test[1].mask
    assert found is not None
    mask(found, value=127)
    return r"cut_mask\.png holds the values 0, 127"


def coloured_mask(samples: Samples) -> str:
    found = samples.test[1].mask
    assert found is not None
    red = np.zeros((20, 30, 3), np.uint8)
    red[5:8, 5:8, 2] = 255
    assert cv2.imwrite(str(found), red)
    return r"cut_mask\.png is in colour"


@pytest.mark.parametrize("spoil", [spoil_image, spoil_mask, shrink_mask, blacken_mask, grey_mask, coloured_mask])
def test_a_bad_sample_stops_the_run_or_is_left_out(tmp_path: Path, spoil: Callable[[Samples], str]):
    samples = category(tmp_path)
    said = spoil(samples)
    with pytest.raises(DataError, match=said):
        check(samples, OnError["raise"])
    checked = check(samples, OnError.skip)
    assert checked.samples.references == samples.references
    assert checked.samples.test == [samples.test[0], samples.test[2]]
    assert len(checked.problems) == 1
    with pytest.raises(DataError, match=said):
        raise DataError(checked.problems[0])


def test_a_bad_reference_is_left_out_and_the_order_stays(tmp_path: Path):
    samples = category(tmp_path)
    samples.references[1].image.unlink()
    with pytest.raises(DataError, match=r"good1\.png does not exist"):
        check(samples, OnError["raise"])
    checked = check(samples, OnError.skip)
    assert checked.samples.references == [samples.references[row] for row in (0, 2, 3)]
    assert checked.samples.test == samples.test


def test_the_first_three_problems_are_told_and_the_others_counted(tmp_path: Path):
    samples = category(tmp_path, references=6)
    for sample in samples.references[:5]:
        sample.image.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        check(samples, OnError["raise"])
    said = str(caught.value)
    assert all(f"good{number}.png" in said for number in range(3))
    assert "good3.png" not in said
    assert "And 2 more" in said


def test_it_is_an_error_when_no_reference_is_left(tmp_path: Path):
    samples = category(tmp_path)
    for sample in samples.references:
        sample.image.write_bytes(b"")
    with pytest.raises(DataError, match="No good image of part can be read"):
        check(samples, OnError.skip)


def test_many_samples_keep_their_order(tmp_path: Path):
    paths = [image(tmp_path / f"{number}.png", 4, 4) for number in range(40)]
    references = [Sample(paths[number * 7 % 40], None, 0, "good") for number in range(1000)]
    checked = check(Samples("part", Kind.object, references, []), OnError.skip)
    assert checked.samples.references == references


def test_a_bad_validation_image_is_found_too(tmp_path: Path):
    samples = category(tmp_path)
    held = [Sample(image(tmp_path / f"held{number}.png"), None, 0, "good") for number in range(3)]
    held[1].image.write_bytes(b"")
    samples = replace(samples, validation=held)
    with pytest.raises(DataError, match=r"held1\.png is not an image"):
        check(samples, OnError["raise"])
    assert check(samples, OnError.skip).samples.validation == [held[0], held[2]]


def test_masks_that_number_defects_are_read_as_their_data_set_has_them(tmp_path: Path):
    samples = category(tmp_path)
    found = samples.test[1].mask
    assert found is not None
    mask(found, value=2)
    samples.test[1] = replace(samples.test[1], mask_threshold=0)
    assert check(samples, OnError["raise"]).samples == samples
    mask(found, value=0)
    with pytest.raises(DataError, match=r"marks no defect \(no pixel above 0\)"):
        check(samples, OnError["raise"])
