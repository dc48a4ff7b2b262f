"""Reading at points against ``grid_sample``."""

import pytest
import torch
from torch.nn import functional as F

from cpr_lightning.training.points import corners, read, spread


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize(("height", "width"), [(7, 5), (1, 4), (3, 1)])
def test_reading_is_grid_sample(padding: str, height: int, width: int):
    generator = torch.Generator().manual_seed(4)
    maps = torch.randn(3, 6, height, width, generator=generator)
    points = torch.rand(3, 50, 2, generator=generator) * 2 - 1
    points[:, 0], points[:, 1] = -1, 1
    at = corners(points, height, width)
    made = read(maps, at.inside() if padding == "border" else at)
    expected = F.grid_sample(maps, points.unsqueeze(1), padding_mode=padding, align_corners=False)
    torch.testing.assert_close(made, expected.squeeze(2).transpose(1, 2), rtol=1e-4, atol=1e-5)


def test_spreading_is_the_gradient_of_reading():
    generator = torch.Generator().manual_seed(5)
    maps = torch.randn(3, 6, 4, 5, generator=generator).requires_grad_()
    at = corners(torch.rand(3, 50, 2, generator=generator) * 2 - 1, 4, 5)
    gradient = torch.randn(3, 50, 6, generator=generator)
    (expected,) = torch.autograd.grad(read(maps, at), maps, gradient)
    torch.testing.assert_close(spread(gradient, at, maps), expected, rtol=1e-4, atol=1e-5)
