"""Defect masks: rotated Perlin noise, without crumbs, on the foreground."""

import cv2
import numpy as np
import pytest

from cpr_lightning.data import defect_masks
from cpr_lightning.data.defect_masks import draw_mask, perlin_noise


def disc(side: int, radius: float) -> np.ndarray:
    line = np.arange(side) - (side - 1) / 2
    return (np.hypot(line, line[:, None]) < radius).astype(np.float32)


def test_noise_is_what_the_definition_says_pixel_by_pixel():
    size, cells = 12, (2, 3)
    noise = perlin_noise(size, cells, np.random.default_rng(5))
    angle = np.random.default_rng(5).uniform(0, 2 * np.pi, (3, 4))
    for row, column in [(0, 0), (3, 7), (11, 11), (6, 4)]:
        y, x = row * cells[0] / size, column * cells[1] / size
        top, left = int(y), int(x)
        total = 0.0
        for corner_y in (top, top + 1):
            for corner_x in (left, left + 1):
                distance_y, distance_x = y - corner_y, x - corner_x
                weight = 1.0
                for distance in (abs(distance_y), abs(distance_x)):
                    weight *= 1 - (6 * distance**5 - 15 * distance**4 + 10 * distance**3)
                at = angle[corner_y, corner_x]
                total += weight * (np.cos(at) * distance_x + np.sin(at) * distance_y)
        assert noise[row, column] == pytest.approx(total * 2**0.5, abs=1e-5)


def test_noise_stays_within_one_and_passes_the_threshold():
    for seed in range(8):
        noise = perlin_noise(160, (8, 8), np.random.default_rng(seed))
        assert noise.dtype == np.float32
        assert np.abs(noise).max() <= 1.0
        assert noise.max() > defect_masks.NOISE_THRESHOLD


def test_same_seed_same_mask_and_other_seeds_differ():
    masks = [draw_mask(96, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])


@pytest.mark.parametrize("size", [64, 100, 320])
def test_masks_are_never_empty_and_hold_no_crumbs(size: int):
    for seed in range(30):
        mask = draw_mask(size, np.random.default_rng(seed))
        assert mask.shape == (size, size)
        assert mask.dtype == np.bool_
        _, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        areas = np.asarray(statistics)[1:, cv2.CC_STAT_AREA]
        assert len(areas) > 0
        assert areas.min() >= 0.001 * size * size


def test_every_component_touches_the_foreground():
    foreground = disc(40, 9.0)  # of another size than the mask
    resized = np.asarray(cv2.resize(foreground, (160, 160), interpolation=cv2.INTER_LINEAR)) > 0.5
    outside = 0
    for seed in range(40):
        mask = draw_mask(160, np.random.default_rng(seed), foreground)
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        labels = np.asarray(labels)
        assert all((resized & (labels == label)).any() for label in range(1, count))
        outside += int((mask & ~resized).any())
    assert outside > 0  # touching is enough: a component is not cut at the foreground's edge


def test_masks_do_not_all_lie_in_the_same_places():
    share = np.mean([draw_mask(64, np.random.default_rng(seed)) for seed in range(300)], axis=0)
    middle = share[16:48, 16:48]
    assert middle.min() > 0.0
    assert 0.005 < share.mean() < 0.2


def test_a_foreground_that_noise_never_meets_gives_an_ellipse_on_it(monkeypatch: pytest.MonkeyPatch):
    draws = []

    def flat_noise(size: int, _rng: np.random.Generator) -> np.ndarray:
        draws.append(size)
        return np.zeros((size, size), np.float32)

    monkeypatch.setattr(defect_masks, "_rotated_noise", flat_noise)
    foreground = np.zeros((80, 80), np.float32)
    foreground[20:24, 60:64] = 1.0
    mask = draw_mask(80, np.random.default_rng(0), foreground)
    assert len(draws) == defect_masks.DRAWS
    assert (mask & (foreground > 0.5)).any()
    assert mask.sum() >= 0.001 * mask.size
    assert np.array_equal(mask, draw_mask(80, np.random.default_rng(0), foreground))


def test_without_any_foreground_there_is_still_a_mask():
    masks = [draw_mask(64, np.random.default_rng(seed), np.zeros((8, 8), np.float32)) for seed in range(5)]
    assert all(mask.any() for mask in masks)
    assert not np.array_equal(masks[0], masks[1])
