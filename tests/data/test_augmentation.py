"""Photometric augmentation: what it changes, how often, and that the generator alone decides."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cpr_lightning.data.augmentation import Augmentation, Lightness


def picture(size: int = 64) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    return np.asarray(cv2.resize(rng.integers(30, 200, (8, 8, 3), dtype=np.uint8), (size, size)), dtype=np.uint8)


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_one_generator_one_result_whatever_was_drawn_before():
    image = picture()
    augmentation = Augmentation(0.9)
    first = [augmentation(image, rng(number)) for number in range(6)]
    np.random.seed(7)  # noqa: NPY002
    other = Augmentation(0.9)
    for number in reversed(range(6)):
        np.testing.assert_array_equal(other(image, rng(number)), first[number])
    assert len({each.tobytes() for each in first}) > 4


def test_one_generator_goes_on():
    generator = rng(3)
    augmentation = Augmentation(1.0)
    assert not np.array_equal(augmentation(picture(), generator), augmentation(picture(), generator))


def test_the_input_is_not_changed():
    image = picture()
    before = image.copy()
    for number in range(10):
        made = Augmentation(1.0)(image, rng(number))
        assert made.dtype == np.uint8
        assert made.shape == image.shape
        assert not np.array_equal(made, before)
        np.testing.assert_array_equal(image, before)


def test_at_a_probability_of_0_nothing_changes():
    for number in range(20):
        np.testing.assert_array_equal(Augmentation(0.0)(picture(), rng(number)), picture())


def taken_apart(probability: float, number: int, size: int = 100) -> tuple[float, float, float]:
    """A flat grey image: the share of salt, the share of pepper, and the factor of the lightness."""
    made = Augmentation(probability)(np.full((size, size, 3), 128, np.uint8), rng(number))
    level = made[..., 0].astype(int)
    salt, pepper = level > 180, level < 64
    return float(salt.mean()), float(pepper.mean()), float(level[~salt & ~pepper].mean()) / 128


@pytest.fixture(scope="module")
def drawn() -> list[tuple[bool, bool]]:
    """Whether noise and whether a change of lightness came up, in 600 images."""
    taken = [taken_apart(0.3, number, 64) for number in range(600)]
    return [(salt + pepper > 0, factor != 1) for salt, pepper, factor in taken]


def test_each_change_comes_up_three_times_in_ten(drawn: list[tuple[bool, bool]]):
    # The noise may be of no pixel at all, and the lightness round to what it was, in a few of a hundred.
    for number in range(2):
        assert 135 < sum(each[number] for each in drawn) < 225  # 180 and four standard deviations


def test_the_two_changes_come_up_independently(drawn: list[tuple[bool, bool]]):
    assert abs(sum(noise and lightness for noise, lightness in drawn) - 54) < 28  # four standard deviations


def test_the_sizes_of_the_two_changes_are_independent():
    taken = np.array([taken_apart(1.0, number) for number in range(300)])
    assert abs(np.corrcoef(taken[:, 0] + taken[:, 1], taken[:, 2])[0, 1]) < 0.25


def test_noise_is_salt_and_pepper_half_and_half_on_up_to_three_pixels_in_a_hundred():
    taken = np.array([taken_apart(1.0, number) for number in range(300)])
    salt, pepper = taken[:, 0], taken[:, 1]
    assert max(salt + pepper) <= 0.0305
    assert max(salt + pepper) > 0.027
    assert min(salt + pepper) < 0.003
    assert np.mean(salt + pepper) == pytest.approx(0.015, abs=0.0021)  # U(0, 0.03) and four standard deviations
    np.testing.assert_allclose(salt, pepper, atol=0.002)


def test_lightness_is_multiplied_by_up_to_a_tenth():
    factors = [taken_apart(1.0, number)[2] for number in range(300)]
    assert 0.89 < min(factors) < 0.91
    assert 1.09 < max(factors) < 1.11
    assert np.mean(factors) == pytest.approx(1.0, abs=0.015)
    for factor in (0.9, 1.0, 1.1):
        made = Lightness(p=1.0).apply(np.full((16, 16, 3), 128, np.uint8), factor)
        assert abs(float(made.mean()) - 128 * factor) <= 1


def test_lightness_keeps_hue_and_does_not_overflow():
    image = picture()
    made = Lightness(p=1.0).apply(image, 1.1)
    before, after = (cv2.cvtColor(each, cv2.COLOR_RGB2HLS).astype(int) for each in (image, made))
    assert np.median(np.abs(after[..., 0] - before[..., 0])) <= 1
    expected = np.clip(before[..., 1] * 1.1, 0, 255)
    assert np.abs(after[..., 1] - expected).max() <= 2
    white = Lightness(p=1.0).apply(np.full((4, 4, 3), 250, np.uint8), 1.1)
    assert white.min() >= 250


def test_nothing_is_moved_or_flipped():
    image = picture()
    for number in range(20):
        made = Augmentation(1.0)(image, rng(number))
        assert (np.abs(made.astype(int) - image).max(axis=2) > 40).mean() < 0.031
    assert (np.abs(image[:, ::-1].astype(int) - image).max(axis=2) > 40).mean() > 0.3  # as a flip would
