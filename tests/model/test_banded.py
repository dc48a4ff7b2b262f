"""Banded linear maps against matrix products."""

import pytest
import torch

from cpr_lightning.model.banded import apply, band

CPU = torch.device("cpu")


def banded(after: int, before: int, width: int, seed: int) -> torch.Tensor:
    """A matrix with some numbers around its diagonal, and rows and columns of zeros among them."""
    matrix = torch.rand(after, before, generator=torch.Generator().manual_seed(seed)) - 0.5
    row, column = torch.meshgrid(torch.arange(after) / after, torch.arange(before) / before, indexing="ij")
    matrix[(row - column).abs() * before > width] = 0
    matrix[after // 2] = 0
    matrix[:, before // 3] = 0
    return matrix


@pytest.mark.parametrize(
    ("before", "after"), [((8, 12), (32, 48)), ((7, 5), (9, 31)), ((3, 2), (5, 4)), ((20, 21), (6, 7))]
)
@pytest.mark.parametrize("width", [1, 3, 100])
def test_agrees_with_the_product_of_matrices(before: tuple[int, int], after: tuple[int, int], width: int):
    rows, columns = (banded(out, side, width, side) for side, out in zip(before, after, strict=True))
    maps = torch.rand(3, *before, generator=torch.Generator().manual_seed(9))
    expected = rows.double() @ maps.double() @ columns.double().T
    torch.testing.assert_close(
        apply(band(rows, CPU), maps, band(columns, CPU)).double(), expected, rtol=1e-5, atol=1e-6
    )


def test_maps_that_do_not_lie_in_one_piece():
    rows, columns = band(banded(6, 4, 2, 1), CPU), band(banded(5, 9, 2, 2), CPU)
    maps = torch.rand(2, 9, 4)
    torch.testing.assert_close(apply(rows, maps.mT, columns), apply(rows, maps.mT.contiguous(), columns))
