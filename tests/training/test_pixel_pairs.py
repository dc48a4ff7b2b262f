"""Algorithm 1: which pixels are paired."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from cpr_lightning.training.pixel_pairs import Part, PixelPairs, Points, draw_pixel_pairs, remote_threshold, to_cells

SIZE = 40
THETA = remote_threshold(4, 3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def with_defects(*areas: int, size: int = SIZE) -> Tensor:
    """Masks with a defect of so many pixels, from a corner of the middle on."""
    masks = torch.zeros(len(areas), size, size, dtype=torch.bool)
    for mask, area in zip(masks, areas, strict=True):
        mask.view(-1)[size * size // 3 : size * size // 3 + area] = True
    return masks


def draw(defect: Tensor, count: int = 100, seed: int = 0, foreground: Tensor | None = None) -> PixelPairs:
    return draw_pixel_pairs(defect, foreground, count, remote_distance=THETA, generator=generator(seed))


def places(points: Tensor, height: int = SIZE, width: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of points, which must be pixel centres."""
    columns = (points[..., 0].double().numpy() + 1) / 2 * width - 0.5
    rows = (points[..., 1].double().numpy() + 1) / 2 * height - 0.5
    for found, side in ((rows, height), (columns, width)):
        np.testing.assert_allclose(found, found.round(), atol=1e-4)
        assert found.round().min() >= 0
        assert found.round().max() < side
    return rows.round().astype(int), columns.round().astype(int)


def on(mask: Tensor, points: Tensor) -> np.ndarray:
    rows, columns = places(points, *mask.shape[1:])
    return mask.numpy()[np.arange(len(mask))[:, None], rows, columns]


def numbers(points: Tensor, width: int = SIZE) -> np.ndarray:
    rows, columns = places(points, width=width)
    return rows * width + columns


def test_theta_is_what_the_window_reaches_diagonally():
    assert remote_threshold(4, 3) == pytest.approx(5.656854)
    assert remote_threshold(4, 5) == pytest.approx(8 * math.sqrt(2))


def test_same_pairs_are_one_place_never_on_a_defect():
    defect = with_defects(700, 0)
    same = draw(defect, 300).same
    assert same.valid.all()
    assert torch.equal(same.query, same.reference)
    assert not on(defect, same.query).any()


def test_defect_pairs_are_one_place_always_on_a_defect():
    defect = with_defects(700, 150)
    pairs = draw(defect, 100).defect
    assert pairs.valid.all()
    assert torch.equal(pairs.query, pairs.reference)
    assert on(defect, pairs.query).all()


def test_places_are_drawn_without_repetition():
    pairs = draw(with_defects(120, 300), 100)
    for sort in (pairs.same, pairs.defect):
        for row in numbers(sort.query):
            assert len(set(row.tolist())) == 100


def test_missing_defect_pairs_are_marked_and_the_others_are_all_there_is():
    defect = with_defects(0, 30, 100)
    pairs = draw(defect, 100).defect
    assert pairs.valid.sum(1).tolist() == [0, 30, 100]
    drawn = numbers(pairs.query)
    assert set(drawn[1][pairs.valid[1].numpy()].tolist()) == set(np.flatnonzero(defect[1].numpy()).tolist())


def test_an_image_that_is_all_defect_has_no_same_and_no_remote_pair():
    defect = torch.ones(1, SIZE, SIZE, dtype=torch.bool)
    pairs = draw(defect)
    assert not pairs.same.valid.any()
    assert not pairs.remote.valid.any()
    assert pairs.defect.valid.all()


def test_more_pairs_than_pixels_are_marked_missing():
    pairs = draw(with_defects(3, size=5), 40)
    assert pairs.same.query.shape == pairs.remote.query.shape == pairs.defect.query.shape == (1, 40, 2)
    assert pairs.same.valid.sum().item() == 22
    assert pairs.defect.valid.sum().item() == 3


def test_remote_pairs_are_farther_than_theta_and_use_the_same_pairs_reference():
    pairs = draw(with_defects(200, 0), 300)
    assert pairs.remote.valid.all()
    assert torch.equal(pairs.remote.reference, pairs.same.reference)
    (rows, columns), (near_rows, near_columns) = places(pairs.remote.query), places(pairs.remote.reference)
    distance = np.hypot(rows - near_rows, columns - near_columns)
    assert distance.min() > THETA
    # Anywhere else, near or far: as far apart on average as random pixels of a square are.
    assert distance.mean() == pytest.approx(0.5214 * SIZE, rel=0.1)
    assert distance.min() < 1.5 * THETA


def test_remote_pairs_that_cannot_be_found_are_marked():
    pairs = draw_pixel_pairs(with_defects(0, size=4), None, 10, remote_distance=5.0, generator=generator())
    assert pairs.same.valid.all()
    assert not pairs.remote.valid.any()
    mixed = draw_pixel_pairs(with_defects(0, size=4), None, 16, remote_distance=4.0, generator=generator()).remote
    (rows, columns), (near_rows, near_columns) = places(mixed.query, 4, 4), places(mixed.reference, 4, 4)
    far = np.hypot(rows - near_rows, columns - near_columns) > 4
    np.testing.assert_array_equal(far, mixed.valid.numpy())
    assert 0 < far.sum() <= 12  # only the outer pixels have another so far away


def test_textures_have_no_remote_pairs():
    pairs = draw_pixel_pairs(with_defects(100), None, 50, remote_distance=None, generator=generator())
    assert not pairs.remote.valid.any()
    assert pairs.remote.query.shape == (1, 50, 2)
    assert pairs.same.valid.all()


def test_same_pairs_are_drawn_in_proportion_to_the_foreground():
    # One draw an image from many images, so that drawing without repetition does not blur the proportion.
    count = 6000
    foreground = torch.zeros(count, 4, 4)
    foreground[:, 0], foreground[:, 1], foreground[:, 2] = 0.1, 0.2, 0.7
    defect = torch.zeros(count, 4, 4, dtype=torch.bool)
    defect[:, 2, :2] = True
    same = draw_pixel_pairs(defect, foreground, 1, remote_distance=None, generator=generator(1)).same
    assert same.valid.all()
    drawn = np.bincount(_numbers4(same.query), minlength=16)
    weight = (foreground[0] * ~defect[0]).flatten().numpy()
    expected = count * weight / weight.sum()
    assert (drawn[weight == 0] == 0).all()
    chi_square = ((drawn - expected)[weight > 0] ** 2 / expected[weight > 0]).sum()
    assert chi_square < 27.9  # the 99.9 % quantile at 9 degrees of freedom


def _numbers4(points: Tensor) -> np.ndarray:
    rows, columns = places(points, 4, 4)
    return (rows * 4 + columns).ravel()


def test_without_a_foreground_every_normal_pixel_is_as_likely():
    count = 6000
    defect = torch.zeros(count, 4, 4, dtype=torch.bool)
    defect[:, 3] = True
    same = draw_pixel_pairs(defect, None, 1, remote_distance=None, generator=generator(2)).same
    drawn = np.bincount(_numbers4(same.query), minlength=16)
    assert (drawn[12:] == 0).all()
    assert ((drawn[:12] - count / 12) ** 2 / (count / 12)).sum() < 31.3  # the 99.9 % quantile at 11


def test_pixels_of_no_foreground_are_never_drawn():
    foreground = torch.zeros(2, SIZE, SIZE)
    foreground[0, 10:14, 10:14] = 0.5
    pairs = draw(with_defects(0, 0), 50, foreground=foreground)
    assert pairs.same.valid.sum(1).tolist() == [16, 0]
    rows, columns = places(pairs.same.query)
    valid = pairs.same.valid.numpy()
    assert ((rows[valid] >= 10) & (rows[valid] < 14) & (columns[valid] >= 10) & (columns[valid] < 14)).all()


def flat(pairs: PixelPairs) -> list[Tensor]:
    return [value for sort in pairs for value in sort]


def test_one_generator_one_draw():
    defect = with_defects(200, 0)
    before = torch.get_rng_state()
    assert all(torch.equal(a, b) for a, b in zip(flat(draw(defect)), flat(draw(defect)), strict=True))
    assert torch.equal(torch.get_rng_state(), before)  # the global generator has no part in it
    assert not torch.equal(draw(defect, seed=1).same.query, draw(defect).same.query)
    assert not torch.equal(draw(defect, seed=1).remote.query, draw(defect).remote.query)
    assert not torch.equal(draw(defect, seed=1).defect.query[0], draw(defect).defect.query[0])


def test_images_of_a_batch_are_drawn_apart():
    same = draw(with_defects(0, 0)).same
    assert not torch.equal(same.query[0], same.query[1])


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_that_share_a_batch_draw_the_pairs_of_one_that_has_all_of_it(processes: int):
    defect, foreground = with_defects(50, 700, 0, 1600, 30, 1), torch.rand(6, SIZE, SIZE, generator=generator(5))
    whole = draw_pixel_pairs(defect, foreground, 100, remote_distance=THETA, generator=generator())
    share = 6 // processes
    parts = [
        draw_pixel_pairs(
            defect[first : first + share], foreground[first : first + share], 100,
            remote_distance=THETA, generator=generator(), part=Part(first, 6),
        )
        for first in range(0, 6, share)
    ]  # fmt: skip
    for of_whole, *of_parts in zip(flat(whole), *map(flat, parts), strict=True):
        assert torch.equal(of_whole, torch.cat(of_parts))


def test_points_are_x_before_y_on_images_that_are_not_square():
    defect = torch.zeros(1, 6, 20, dtype=torch.bool)
    defect[0, 4, 17] = True
    pairs: Points = draw_pixel_pairs(defect, None, 1, remote_distance=None, generator=generator()).defect
    torch.testing.assert_close(pairs.query[0, 0], torch.tensor([(17.5 / 20) * 2 - 1, (4.5 / 6) * 2 - 1]))


def test_a_cell_is_defective_where_any_of_its_pixels_is():
    defect = torch.zeros(2, 320, 320, dtype=torch.bool)
    defect[0, 4, 8] = True
    defect[1, 100:120, 200:210] = True
    cells, foreground = to_cells(defect, None, 80)
    assert foreground is None
    assert torch.nonzero(cells[0]).tolist() == [[1, 2]]
    expected = defect[1].view(80, 4, 80, 4).any(dim=3).any(dim=1)
    assert torch.equal(cells[1], expected)


def test_the_foreground_of_cells_is_resized_only_when_needed():
    defect = torch.zeros(1, 32, 32, dtype=torch.bool)
    fits = torch.rand(1, 8, 8, generator=generator())
    assert to_cells(defect, fits, 8)[1] is fits
    resized = to_cells(defect, torch.full((1, 32, 32), 0.25), 8)[1]
    assert resized is not None
    torch.testing.assert_close(resized, torch.full((1, 8, 8), 0.25))
