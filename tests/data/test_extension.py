"""Real defects pasted on other images: how often, where, how large, how opaque, and what the mask says of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.stats import binom

from cpr_lightning.data.extension import ExtendedAnomalies, RealDefects, turned
from cpr_lightning.data.samples import Sample
from cpr_lightning.errors import DataError
from cpr_lightning.settings import SupervisedSettings

SIZE = 96
ALWAYS = SupervisedSettings(pasted_probability=1.0, pasted_most=1, altered_probability=0.0)


def defects() -> RealDefects:
    """Two images of one colour each, with a bar away from the centre, and with a small square in a corner."""
    images = np.stack([np.full((SIZE, SIZE, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 255, 0))])
    masks = np.zeros((2, SIZE, SIZE), bool)
    masks[0, 20:30, 10:50] = True
    masks[1, 88:96, 88:96] = True
    return RealDefects(images, masks)


def black() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros((SIZE, SIZE), bool)


def pasted(seed: int, real: RealDefects | None = None, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
    extension = ExtendedAnomalies(real or defects(), replace(ALWAYS, **settings))
    return extension(*black(), np.random.default_rng(seed))


def within(count: int, draws: int, probability: float) -> bool:
    """Whether a count is one that a right program misses once in a million times."""
    low, high = binom.interval(1 - 1e-6, draws, probability)
    return low <= count <= high


def test_the_given_share_of_images_gets_defects_and_the_others_are_untouched():
    extension = ExtendedAnomalies(defects(), SupervisedSettings())
    rng, changed = np.random.default_rng(0), 0
    image, mask = black()
    for _ in range(4000):
        result, marked = extension(image, mask, rng)
        assert (result is image) == (marked is mask) == (not marked.any())
        changed += bool(marked.any())
    assert within(changed, 4000, 0.2)
    assert not image.any()
    assert not mask.any()


def test_one_to_five_defects_are_pasted_each_number_alike():
    one = defects()
    real = RealDefects(one.images[1:], one.masks[1:])  # 8 × 8 pixels, so that few of them meet
    draws, counts = 1500, np.zeros(7, int)
    for seed in range(draws):
        extension = ExtendedAnomalies(real, SupervisedSettings(1, None, 0.0, 1.0, 5, 0.0, 1.0, [0.5, 0.5], [1.0, 1.0]))
        _, marked = extension(*black(), np.random.default_rng(seed))
        counts[cv2.connectedComponents(marked.astype(np.uint8))[0] - 1] += 1
    assert counts[0] == counts[6] == 0
    # A few meet and count as one, so the larger numbers lose some to the smaller.
    assert within(int(counts[1]), draws, 0.2 + 0.01)
    assert all(draws * 0.14 < counts[number] < draws * 0.26 for number in range(1, 6))


def test_each_defect_comes_up_alike():
    red = sum(bool(pasted(seed)[0][..., 0].any()) for seed in range(1000))
    assert within(red, 1000, 0.5)


def test_the_mask_is_where_pixels_changed_and_the_opacity_is_within_its_range():
    opacities = []
    for seed in range(300):
        image, marked = pasted(seed)
        assert np.array_equal(image.any(axis=2), marked)
        values = np.unique(image.max(axis=2)[marked])
        assert len(values) == 1, "one opacity for a defect"
        opacities.append(values[0] / 255)
    assert 0.5 - 0.002 <= min(opacities) < 0.52
    assert 0.98 < max(opacities) <= 1
    assert np.mean(opacities) == pytest.approx(0.75, abs=0.05)


def test_a_defect_that_was_there_stays_in_the_mask_and_shows_through():
    image = np.full((SIZE, SIZE, 3), 200, np.uint8)
    before = np.zeros((SIZE, SIZE), bool)
    before[40:60] = True
    extension = ExtendedAnomalies(defects(), replace(ALWAYS, opacity=[0.5, 0.5]))
    for seed in range(20):
        result, marked = extension(image, before, np.random.default_rng(seed))
        assert marked[before].all()
        changed = (result != image).any(axis=2)
        assert np.array_equal(marked, before | changed)
        assert set(map(tuple, result[changed].tolist())) <= {(228, 100, 100), (100, 228, 100)}
    assert before.sum() == 20 * SIZE


def test_a_moved_defect_lies_whole_inside_the_image_at_any_angle_and_size():
    real = defects()
    real = RealDefects(real.images[:1], real.masks[:1])
    area = float(real.masks[0].sum())
    scales, rows, columns, angles = [], [], [], []
    for seed in range(500):
        _, marked = pasted(seed, real, moved_probability=1.0)
        (x, y), sides, _ = cv2.minAreaRect(np.argwhere(marked)[:, ::-1].astype(np.float32))
        # The centres of the outermost pixels lie half a pixel inside: a bar that was cut would be shorter.
        assert (max(sides) + 1) / (min(sides) + 1) == pytest.approx(4, rel=0.35)
        scales.append(np.sqrt(marked.sum() / area))
        rows.append(y)
        columns.append(x)
        along = np.argwhere(marked) - np.argwhere(marked).mean(axis=0)
        angles.append(np.degrees(np.arctan2(*np.linalg.svd(along, full_matrices=False)[2][0])) % 180)
    assert 0.45 < min(scales) < 0.55
    assert 1.45 < max(scales) < 1.55
    assert np.mean(scales) == pytest.approx(1.0, abs=0.06)
    for places in (rows, columns):
        assert min(places) < 0.2 * SIZE
        assert max(places) > 0.8 * SIZE
        assert np.mean(places) == pytest.approx((SIZE - 1) / 2, abs=4)
    assert all(binom.cdf(found, 500, 0.25) > 1e-6 for found in np.histogram(angles, 4, (0, 180))[0])


def test_one_in_ten_defects_stays_where_it_was():
    real, draws = defects(), 1500
    stayed = 0
    for seed in range(draws):
        _, marked = pasted(seed)
        stayed += any(np.array_equal(marked, mask) for mask in real.masks)
    assert within(stayed, draws, 0.1)


def test_half_of_the_defects_change_their_look_and_none_its_place():
    real = defects()
    noise = np.random.default_rng(3).integers(0, 256, real.images.shape).astype(np.uint8)
    real = RealDefects(noise, real.masks)
    changed, draws = 0, 1000
    for seed in range(draws):
        still = {"moved_probability": 0.0, "opacity": [1.0, 1.0], "altered_probability": 0.5}
        image, marked = pasted(seed, real, **still)
        chosen = next(number for number in range(2) if np.array_equal(marked, real.masks[number]))
        changed += not np.array_equal(image[marked], real.images[chosen][marked])
    # Three operations may by chance leave the pixels as they were (posterize to 8 bits and the like), but rarely do.
    assert within(changed, draws, 0.495)


def test_a_defect_larger_than_the_image_covers_it():
    real = defects()
    real = RealDefects(real.images[:1], np.ones((1, SIZE, SIZE), bool))
    image, marked = pasted(0, real, moved_probability=1.0, scale=[3.0, 3.0], opacity=[1.0, 1.0])
    assert marked.mean() > 0.5
    assert (image[marked] == (255, 0, 0)).all(), "beyond its image's edge the defect goes on, and nothing is dark"


def test_turning_agrees_with_exact_geometry():
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[30:41, 20:45] = True
    same, marks = turned(image, mask, 0.0, 1.0)
    assert np.array_equal(same, image[30:41, 20:45])
    assert marks.all()
    for degrees, quarter in ((90.0, 1), (180.0, 2), (270.0, 3)):
        pixels, marks = turned(image, mask, degrees, 1.0)
        assert marks.all()
        assert np.abs(pixels.astype(int) - np.rot90(image[30:41, 20:45], quarter)).max() <= 1
    for scale in (0.5, 0.8, 1.5):
        for degrees in (0.0, 33.0):
            _, marks = turned(image, mask, degrees, scale)
            assert marks.sum() == pytest.approx(mask.sum() * scale**2, rel=0.12)
            assert all(marks.any(axis=axis).all() for axis in (0, 1))


def test_a_defect_that_vanishes_when_it_is_scaled_down_is_not_pasted():
    real = defects()
    masks = np.zeros((1, SIZE, SIZE), bool)
    masks[0, 50, 50:52] = True
    real = RealDefects(real.images[:1], masks)
    vanished = 0
    for seed in range(40):
        image, marked = pasted(seed, real, moved_probability=1.0, scale=[0.1, 0.1])
        assert np.array_equal(image.any(axis=2), marked)
        vanished += not marked.any()
    assert vanished > 0


def test_the_same_seed_gives_the_same():
    first, again, other = (pasted(seed, pasted_most=5, altered_probability=0.5) for seed in (4, 4, 5))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])


def test_images_and_masks_are_read_at_the_size_of_training(tmp_path: Path):
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 30:45] = 255
    assert cv2.imwrite(str(tmp_path / "cut.png"), picture[..., ::-1])
    assert cv2.imwrite(str(tmp_path / "cut_mask.png"), mask)
    sample = Sample(tmp_path / "cut.png", tmp_path / "cut_mask.png", 1, "cut")
    real = RealDefects.read([sample, sample], 20)
    assert len(real) == 2
    assert real.images.shape == (2, 20, 20, 3)
    expected = np.zeros((20, 20), bool)
    expected[5:10, 10:15] = True
    assert np.array_equal(real.masks[0], expected)
    np.testing.assert_array_equal(real.images[0], cv2.resize(picture, (20, 20), interpolation=cv2.INTER_LINEAR))
    with pytest.raises(DataError, match=r"cut\.png has no mask"):
        RealDefects.read([replace(sample, mask=None)], 20)


def test_a_defect_smaller_than_a_pixel_still_counts(tmp_path: Path):
    mask = np.zeros((80, 80), np.uint8)
    mask[33, 47] = 255
    assert cv2.imwrite(str(tmp_path / "dot.png"), np.zeros((80, 80, 3), np.uint8))
    assert cv2.imwrite(str(tmp_path / "dot_mask.png"), mask)
    sample = Sample(tmp_path / "dot.png", tmp_path / "dot_mask.png", 1, "dot")
    assert not np.any(sample.read_mask(8)), "it must vanish for this test to mean anything"
    assert np.argwhere(RealDefects.read([sample], 8).masks[0]).tolist() == [[3, 4]]
