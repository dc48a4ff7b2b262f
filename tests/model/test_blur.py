"""The blur against SciPy's and OpenCV's."""

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from cpr_lightning.model.blur import gaussian_blur, resized_blur


def maps(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("sigma", "reach", "size"), [(4.0, 16, (40, 33)), (1.3, 5, (17, 20)), (3.2, 13, (80, 80))])
def test_agrees_with_scipy(sigma: float, reach: int, size: tuple[int, int]):
    given = maps(3, *size)
    expected = np.stack([ndimage.gaussian_filter(each.numpy(), sigma, mode="mirror", radius=reach) for each in given])
    np.testing.assert_allclose(gaussian_blur(given, sigma, reach).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_is_the_released_codes_33_by_33_blur_of_sigma_4():
    given = maps(2, 64, 50, seed=1)
    expected = np.stack(
        [cv2.GaussianBlur(each.numpy(), (33, 33), 4, borderType=cv2.BORDER_REFLECT_101) for each in given]
    )
    np.testing.assert_allclose(gaussian_blur(given, 4.0, 16).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_constant_stays_what_it_is_up_to_the_border():
    torch.testing.assert_close(gaussian_blur(torch.full((1, 20, 30), 0.7), 4.0, 16), torch.full((1, 20, 30), 0.7))


@pytest.mark.parametrize(("size", "sigma"), [((320, 320), 4.0), ((50, 33), 1.5), ((24, 24), 2.0)])
def test_a_resize_and_a_blur_are_one(size: tuple[int, int], sigma: float):
    given, reach = maps(2, 24, 20, seed=3), round(4 * sigma)
    resized = F.interpolate(given.unsqueeze(1), size=size, mode="bilinear", align_corners=False).squeeze(1)
    expected = np.stack([ndimage.gaussian_filter(each, sigma, mode="mirror", radius=reach) for each in resized.numpy()])
    np.testing.assert_allclose(resized_blur([given], size, sigma, reach).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_maps_of_a_batch_do_not_mix():
    given = torch.stack([torch.zeros(24, 24), maps(24, 24)])
    blurred = gaussian_blur(given, 2.0, 8)
    assert blurred[0].abs().max() == 0
    torch.testing.assert_close(blurred[1:], gaussian_blur(given[1:], 2.0, 8))


def test_a_map_smaller_than_the_kernel_is_blurred_with_what_fits():
    given = maps(1, 6, 9, seed=2)
    expected = ndimage.gaussian_filter(given[0].numpy(), 4.0, mode="mirror", radius=5)
    np.testing.assert_allclose(gaussian_blur(given, 4.0, 16)[0].numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(48, 60), (12, 10), (24, 20), (31, 17)])
def test_the_sum_of_scales_is_resized_and_blurred(size: tuple[int, int]):
    fine, coarse = maps(2, 24, 20, seed=4), maps(2, 12, 10, seed=5)
    summed = fine + F.interpolate(coarse.unsqueeze(1), size=(24, 20), mode="bilinear").squeeze(1)
    resized = F.interpolate(summed.unsqueeze(1), size=size, mode="bilinear").squeeze(1)
    torch.testing.assert_close(resized_blur([fine, coarse], size, 0.0, 0), resized)
    torch.testing.assert_close(resized_blur([fine, coarse], size, 1.5, 6), gaussian_blur(resized, 1.5, 6))
