"""Synthetic defects: blended inside the mask, untouched outside it."""

import cv2
import numpy as np
import pytest

from cpr_lightning.data import synthesis
from cpr_lightning.data.synthesis import SyntheticDefects
from cpr_lightning.data.textures import generated_texture
from cpr_lightning.errors import SettingsError

WHITE = 255


def white(size: int, _rng: np.random.Generator) -> np.ndarray:
    return np.full((size, size, 3), WHITE, np.uint8)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 200, (80, 80, 3)).astype(np.uint8)


def test_the_blend_has_one_opacity_within_the_range_and_stays_inside_the_mask(image: np.ndarray):
    opacities = []
    for seed in range(40):
        before = image.copy()
        result, mask = SyntheticDefects("texture", white, 1.0, (0.5, 0.8))(image, np.random.default_rng(seed))
        assert np.array_equal(image, before)
        assert mask.any()
        assert np.array_equal(result[~mask], image[~mask])
        below = image[mask].astype(float)
        opacity = float(np.mean((result[mask] - below) / (WHITE - below)))
        assert np.abs(opacity * WHITE + (1 - opacity) * below - result[mask]).max() <= 1.0
        assert 0.495 <= opacity <= 0.805
        opacities.append(opacity)
    assert max(opacities) - min(opacities) > 0.15


def test_full_opacity_shows_the_source_itself(image: np.ndarray):
    result, mask = SyntheticDefects("texture", white, 1.0, (1.0, 1.0))(image, np.random.default_rng(0))
    assert (result[mask] == WHITE).all()


def test_same_seed_same_defect_and_other_seeds_differ(image: np.ndarray):
    defects = SyntheticDefects("object", generated_texture, 1.0)
    (first, mask), (again, mask_again), (other, _) = (defects(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.array_equal(mask, mask_again)
    assert not np.array_equal(first, other)


def test_the_given_part_of_the_images_gets_a_defect(image: np.ndarray):
    defects = SyntheticDefects("texture", white, 0.7)
    rng = np.random.default_rng(0)
    with_defect = 0
    for _ in range(400):
        result, mask = defects(image, rng)
        assert mask.shape == (80, 80)
        assert mask.any() == (not np.array_equal(result, image))
        with_defect += bool(mask.any())
    assert 0.62 < with_defect / 400 < 0.78


def test_probability_zero_returns_the_image_itself(image: np.ndarray):
    result, mask = SyntheticDefects("object", white, 0.0)(image, np.random.default_rng(0))
    assert result is image
    assert not mask.any()


@pytest.mark.parametrize(("kind", "low", "high"), [("texture", 1.0, 1.0), ("object", 0.38, 0.62)])
def test_objects_show_a_texture_half_of_the_time_and_textures_always(
    kind: synthesis.Kind, low: float, high: float, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    calls = {"texture": 0, "structure": 0}

    def texture(size: int, rng: np.random.Generator) -> np.ndarray:
        calls["texture"] += 1
        return white(size, rng)

    def structure(source: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
        calls["structure"] += 1
        return source

    monkeypatch.setattr(synthesis, "structure", structure)
    defects, rng = SyntheticDefects(kind, texture, 1.0), np.random.default_rng(0)
    for _ in range(200):
        defects(image, rng)
    assert sum(calls.values()) == 200
    assert low <= calls["texture"] / 200 <= high


def test_defects_lie_on_the_foreground(image: np.ndarray):
    foreground = np.zeros((80, 80), np.float32)
    foreground[30:50, 30:50] = 1.0
    defects = SyntheticDefects("object", white, 1.0)
    for seed in range(20):
        _, mask = defects(image, np.random.default_rng(seed), foreground)
        assert (mask & (foreground > 0.5)).any()


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"kind": "liquid"}, "dataset.kind"),
        ({"probability": 1.2}, "training.defect_probability"),
        ({"probability": -0.1}, "training.defect_probability"),
        ({"opacity": (0.0, 1.0)}, "opacity is"),
        ({"opacity": (0.9, 0.5)}, "opacity is"),
        ({"opacity": (0.5, 1.5)}, "opacity is"),
    ],
)
def test_settings_that_cannot_be_used_are_named(arguments: dict, key: str):
    with pytest.raises(SettingsError, match=key):
        SyntheticDefects(**{"kind": "object", "texture_source": white, **arguments})


def test_images_that_are_not_square_are_refused(image: np.ndarray):
    with pytest.raises(ValueError, match="80×60"):
        SyntheticDefects("object", white, 1.0)(image[:, :60], np.random.default_rng(0))


def test_a_defect_drawn_larger_is_scaled_down_with_a_soft_edge():
    image = np.random.default_rng(7).integers(0, 200, (320, 320, 3)).astype(np.uint8)
    for seed in range(10):
        drawn = SyntheticDefects("texture", white, 1.0, (1.0, 1.0), scale=2)(image, np.random.default_rng(seed))
        result, mask = drawn
        assert result.shape == image.shape
        assert mask.shape == image.shape[:2]
        assert mask.any()
        near = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        # Parts thinner than a pixel may be drawn and yet not marked; they are few.
        assert (result[~near] != image[~near]).any(axis=1).sum() <= 0.05 * mask.sum()
        inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        assert (result[inner] == WHITE).mean() > 0.95  # all but where a hole is thinner than a pixel
        edge = result[near & ~inner].astype(int)
        assert ((edge > image[near & ~inner]) & (edge < WHITE)).any(), "the edge mixes defect and image"


def test_a_scale_below_one_is_refused():
    with pytest.raises(SettingsError, match=r"training\.defect_scale"):
        SyntheticDefects("texture", white, scale=0)
