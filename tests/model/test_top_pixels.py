"""The sum of the largest pixels against a full sort."""

import numpy as np
import pytest
import torch

from cpr_lightning.model.top_pixels import top_sum

GENERATOR = np.random.default_rng(3)
SMOOTH = np.add.outer(np.sin(np.arange(160) / 20), np.cos(np.arange(160) / 33)).astype(np.float32)
MAPS = {
    "random": GENERATOR.normal(size=(2, 102_400)),
    "smooth": np.stack([SMOOTH.ravel(), -SMOOTH.ravel()]),
    "constant": np.full((1, 5000), 0.25),
    "two values": GENERATOR.integers(0, 2, (1, 20_000)),
    "odd length": GENERATOR.random((3, 10_007)),
    "few": GENERATOR.random((1, 17)),
    "one hot": np.eye(1, 9000, 4321),
    "rising": np.arange(30_000).reshape(1, -1) / 1e4,
    "the largest behind the last group": np.concatenate([np.zeros(16_000), [3.0, 2.0, 1.0]]).reshape(1, -1),
}


@pytest.mark.parametrize("count", [1, 2, 512, 1000])
@pytest.mark.parametrize("name", MAPS)
def test_agrees_with_a_full_sort(name: str, count: int):
    pixels = MAPS[name].astype(np.float32)
    count = min(count, pixels.shape[1])
    expected = np.sort(pixels.astype(np.float64), axis=1)[:, -count:].sum(1)
    np.testing.assert_allclose(top_sum(torch.from_numpy(pixels), count).numpy(), expected, rtol=1e-6)


def test_what_is_given_stays_as_it_is():
    pixels = torch.rand(1, 40_000)
    before = pixels.clone()
    top_sum(pixels, 512)
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("share", [1e-4, 0.1, 1.0])
@pytest.mark.parametrize("count", [5, 1000])
def test_a_pixel_that_is_nan_is_not_passed_over(share: float, count: int):
    # An image of which nothing is known would have the score of a perfect one.
    pixels = torch.rand(1, 40_000)
    pixels[0, torch.randperm(40_000)[: int(share * 40_000)]] = torch.nan
    assert top_sum(pixels, count).isnan().all()
