"""The foreground branch against scikit-learn, SciPy and made-up products."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from cpr_lightning.errors import DataError
from cpr_lightning.model.foreground import Foreground, fit_foreground, linear_discriminant, regions, sharpen
from cpr_lightning.model.global_retrieval import assign_codes, fit_codebook
from cpr_lightning.settings import ForegroundSettings

SIZE = 40


def two_classes(seed: int, dim: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mix = np.eye(dim) + 0.2 * rng.normal(size=(dim, dim))
    negative = rng.normal(size=(900, dim)) @ mix
    positive = rng.normal(size=(300, dim)) @ mix + rng.normal(size=dim)
    return negative.astype(np.float32), positive.astype(np.float32)


def products(count: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, 8, 40, 40) of a disc that is unlike its background, and where it is."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    background, product = rng.random(8) * 3, rng.random(8) * 3
    features = rng.normal(size=(count, 8, SIZE, SIZE)) * 0.3
    discs = np.empty((count, SIZE, SIZE), bool)
    for number in range(count):
        y, x = SIZE / 2 + rng.uniform(-2, 2, 2)
        discs[number] = (rows - y) ** 2 + (columns - x) ** 2 < (0.33 * SIZE) ** 2
        features[number] += np.where(discs[number], product[:, None, None], background[:, None, None])
    return features.astype(np.float32), discs


def words(features: np.ndarray, clusters: int) -> np.ndarray:
    vectors = np.moveaxis(features, 1, -1).reshape(-1, features.shape[1])
    codebook = torch.from_numpy(fit_codebook(vectors, clusters, 3, 66))
    return assign_codes(torch.from_numpy(features), codebook).numpy()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_discriminant_is_that_of_scikit_learn(seed: int):
    negative, positive = two_classes(seed)
    weight, bias = linear_discriminant(negative, positive)
    vectors = np.concatenate([negative, positive]).astype(np.float64)
    labels = np.repeat([0, 1], [len(negative), len(positive)])
    expected = LinearDiscriminantAnalysis(solver="lsqr").fit(vectors, labels).decision_function(vectors)
    decision = vectors @ weight + bias
    # The tiny ridge shrinks the least varying directions a little; sizes, sign and priors stay.
    assert np.corrcoef(decision, expected)[0, 1] > 0.9999
    np.testing.assert_allclose(decision, expected, rtol=0, atol=0.01 * np.ptp(expected))


def test_channels_that_are_always_zero_do_no_harm():
    negative, positive = two_classes(3)
    weight, bias = linear_discriminant(negative, positive)
    dead = np.zeros((1, 2), np.float32)
    with_dead, bias_with_dead = linear_discriminant(
        np.hstack([negative, np.repeat(dead, len(negative), 0)]),
        np.hstack([positive, np.repeat(dead, len(positive), 0)]),
    )
    assert np.isfinite(with_dead).all()
    np.testing.assert_allclose(with_dead[:12], weight, rtol=0.02, atol=0.02 * np.abs(weight).max())
    np.testing.assert_array_equal(with_dead[12:], 0)
    assert bias_with_dead == pytest.approx(bias, rel=0.05)


def test_the_regions_are_the_released_codes_frame_of_3_and_middle_of_32():
    frame, centre = regions(80, 80, ForegroundSettings())
    inner = np.zeros((80, 80), bool)
    inner[3:77, 3:77] = True
    middle = np.zeros((80, 80), bool)
    middle[24:56, 24:56] = True
    np.testing.assert_array_equal(frame, ~inner)
    np.testing.assert_array_equal(centre, middle)


def test_the_frame_of_a_small_map_is_at_least_one_cell():
    frame, centre = regions(8, 10, ForegroundSettings())
    assert frame[0].all()
    assert frame[:, -1].all()
    assert not frame[1:-1, 1:-1].any()
    assert centre.any()
    assert not (frame & centre).any()


@pytest.mark.parametrize("clusters", [2, 12], ids=["official: two words", "paper: the codebook of the retrieval"])
def test_the_map_shows_the_product(clusters: int):
    features, discs = products()
    foreground = fit_foreground(features, words(features, clusters), ForegroundSettings(), np.random.default_rng(0))
    maps = foreground(torch.from_numpy(features)).numpy()
    assert maps.shape == discs.shape
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert maps[discs].mean() > 0.75
    assert maps[~discs].mean() < 0.25
    assert ((maps > 0.5) == discs).mean() > 0.97


def test_the_map_does_not_depend_on_which_word_is_called_background():
    features, _ = products()
    codes = words(features, 2)
    maps = [
        fit_foreground(features, named, ForegroundSettings(), np.random.default_rng(0))(torch.from_numpy(features))
        for named in (codes, 1 - codes)
    ]
    torch.testing.assert_close(maps[0], maps[1])


def test_all_but_a_hundredth_of_the_cells_at_either_end_lies_between_0_and_1():
    features, discs = products()
    foreground = fit_foreground(features, discs.astype(np.int64), ForegroundSettings(), np.random.default_rng(0))
    decision = np.einsum("nchw,c->nhw", features, foreground.weight.numpy()) + foreground.bias.numpy()
    np.testing.assert_allclose(np.quantile(decision, [0.01, 0.99]), [0, 1], atol=1e-4)


def test_the_sample_is_bounded_and_drawn_from_the_generator():
    features, _ = products()
    codes = words(features, 2)
    few = ForegroundSettings(vectors=60)
    first, again, other = (fit_foreground(features, codes, few, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.weight, again.weight)
    assert torch.equal(first.bias, again.bias)
    assert not torch.equal(first.weight, other.weight)


def test_the_map_is_a_clamped_linear_function_of_each_cell():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 5, 4, 6, generator=generator)
    weight, bias = torch.randn(5, generator=generator), torch.tensor(0.3)
    expected = np.clip(np.einsum("bchw,c->bhw", features.numpy(), weight.numpy()) + 0.3, 0, 1)
    np.testing.assert_allclose(Foreground(weight, bias)(features).numpy(), expected, rtol=1e-5, atol=1e-6)
    assert 0 < expected.mean() < 1


def test_images_without_any_product_are_refused_with_what_to_do():
    features, _ = products(2)
    codes = np.zeros((2, SIZE, SIZE), np.int64)
    with pytest.raises(DataError, match=r"dataset\.kind=texture.*foreground\.enabled=false"):
        fit_foreground(features, codes, ForegroundSettings(), np.random.default_rng(0))


def test_sharpening_is_a_blur_and_a_steep_sigmoid():
    maps = torch.rand(2, 80, 80, generator=torch.Generator().manual_seed(1))
    blurred = np.stack([ndimage.gaussian_filter(each.numpy(), 80 / 25, mode="mirror", radius=13) for each in maps])
    np.testing.assert_allclose(sharpen(maps).numpy(), 1 / (1 + np.exp(5 - 10 * blurred)), rtol=1e-4, atol=1e-6)
