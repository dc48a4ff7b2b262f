"""Overlays: one scale for a category, low scores leave the image alone, panels and PNG files."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from cpr_lightning.errors import DataError
from cpr_lightning.visual.overlay import TILE, ColourScale, overlay, panel, write_png

SCALE = ColourScale(1.0, 3.0)


def photo(height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_the_scale_of_good_maps_keeps_their_peaks_in_the_lower_half() -> None:
    rng = np.random.default_rng(0)
    good = [rng.gamma(2.0, 0.1, (50, 50)).astype(np.float32) for _ in range(9)]
    scale = ColourScale.from_good(iter(good))
    peaks = [np.quantile(anomaly_map, 0.999) for anomaly_map in good]
    assert scale.low == pytest.approx(np.median([np.median(anomaly_map) for anomaly_map in good]))
    assert scale.place(np.asarray(np.median(peaks))) == pytest.approx(0.5)
    with_a_bad_one = ColourScale.from_good([*good, good[0] * 50])
    assert with_a_bad_one.high < 1.2 * scale.high


def test_flat_good_maps_still_give_a_scale() -> None:
    scale = ColourScale.from_good([np.zeros((4, 4), np.float32)])
    assert scale.place(np.array([0.0, 0.5])).tolist() == [0.0, 1.0]


def test_scales_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ColourScale.from_good([])
    with pytest.raises(ValueError, match="finite low < high"):
        ColourScale(1.0, 1.0)
    with pytest.raises(ValueError, match="finite low < high"):
        ColourScale.from_good([np.full((4, 4), np.nan, np.float32)])


def test_scores_at_or_below_low_leave_the_image_alone() -> None:
    image = photo()
    assert np.array_equal(overlay(image, np.full((10, 15), 1.0, np.float32), SCALE), image)
    assert np.array_equal(overlay(image, np.full((10, 15), -9.0, np.float32), SCALE), image)


def test_a_higher_score_moves_the_picture_further_from_the_image_and_to_red() -> None:
    image = np.full((8, 8, 3), 128, np.uint8)
    pictures = [overlay(image, np.full((8, 8), score, np.float32), SCALE) for score in (1.5, 2.0, 3.0, 99.0)]
    distances = [np.abs(picture.astype(int) - image).sum() for picture in pictures]
    assert 0 < distances[0] < distances[1] < distances[2] == distances[3]
    red, green, blue = pictures[-1][0, 0].tolist()
    assert red > green > blue  # RGB and not BGR


def test_the_map_is_laid_where_it_belongs() -> None:
    image = photo(40, 60)
    anomaly_map = np.zeros((4, 6), np.float32)
    anomaly_map[0, 5] = 3.0
    changed = (overlay(image, anomaly_map, SCALE) != image).any(axis=2)
    assert changed[:6, -6:].all()
    assert not changed[20:].any()
    assert not changed[:, :40].any()


def test_a_panel_has_two_or_three_pictures_of_one_size_and_a_caption() -> None:
    image, anomaly_map = photo(40, 60), np.zeros((10, 15), np.float32)
    mask = np.zeros((40, 60), bool)
    mask[10:20, 10:20] = True
    two = panel(image, anomaly_map, None, SCALE, "")
    three = panel(image, anomaly_map, mask, SCALE, "")
    gap = two.shape[1] - 2 * TILE
    assert three.shape == (two.shape[0], 3 * TILE + 2 * gap, 3)
    assert two.dtype == np.uint8
    picture_rows = round(TILE * 40 / 60)
    middle = three[:picture_rows, TILE + gap : 2 * TILE + gap]
    assert not np.array_equal(middle, three[:picture_rows, :TILE])  # the outline is there
    calm = panel(image, anomaly_map, np.zeros((40, 60), bool), SCALE, "")
    assert np.array_equal(calm[:picture_rows, TILE + gap : 2 * TILE + gap], calm[:picture_rows, :TILE])

    captioned = panel(image, anomaly_map, mask, SCALE, "bent/000")
    assert np.array_equal(captioned[:picture_rows], three[:picture_rows])
    assert not np.array_equal(captioned[picture_rows:], three[picture_rows:])


def test_long_and_foreign_captions_stay_inside_the_bar() -> None:
    image, anomaly_map = photo(300, 20), np.zeros((30, 2), np.float32)
    strip = panel(image, anomaly_map, None, SCALE, "très/long/" * 40)
    assert (strip[TILE:, -4:] == strip[-1, -1]).all()


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8 RGB"):
        overlay(photo()[..., 0], np.zeros((4, 4), np.float32), SCALE)
    with pytest.raises(ValueError, match="finite"):
        overlay(photo(), np.full((4, 4), np.nan, np.float32), SCALE)


def test_png_files_come_back_as_they_were(tmp_path: Path) -> None:
    image = photo()
    write_png(tmp_path / "a.png", image)
    write_png(tmp_path / "a.png", image[::-1])  # replaces what is there
    back = cv2.imread(str(tmp_path / "a.png"))
    assert back is not None
    assert np.array_equal(back[..., ::-1], image[::-1])
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_picture_that_cannot_be_written_raises(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_png(tmp_path / "file" / "a.png", photo())
    with pytest.raises(DataError, match=r"b\.png"):
        write_png(tmp_path / "b.png", np.zeros((0, 0, 3), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
