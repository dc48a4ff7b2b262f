"""What fills a defect from the image itself: operations and a shuffle of cells."""

import numpy as np
import pytest

from cpr_lightning.data import disturbance
from cpr_lightning.data.disturbance import PHOTOMETRIC, altered, shuffled_cells, structure
from cpr_lightning.data.textures import generated_texture


@pytest.fixture
def photo() -> np.ndarray:
    return generated_texture(96, np.random.default_rng(11))


@pytest.mark.parametrize("shape", [(96, 96), (100, 70), (16, 16), (9, 40)])
def test_shuffle_moves_whole_cells_and_keeps_every_pixel(shape: tuple[int, int]):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    shuffled = shuffled_cells(image, np.random.default_rng(1))
    assert not np.array_equal(shuffled, image)
    assert np.array_equal(np.sort(shuffled.reshape(-1, 3), axis=0), np.sort(image.reshape(-1, 3), axis=0))
    height, width = max(1, shape[0] // 16), max(1, shape[1] // 16)
    cells = {
        image[y : y + height, x : x + width].tobytes()
        for y in range(0, shape[0] - height + 1, height)
        for x in range(0, shape[1] - width + 1, width)
    }
    assert shuffled[:height, :width].tobytes() in cells
    assert shuffled[height : 2 * height, width : 2 * width].tobytes() in cells
    rest = shape[0] - shape[0] % height if shape[0] >= 16 else shape[0]
    assert np.array_equal(shuffled[min(16 * height, rest) :], image[min(16 * height, rest) :])


@pytest.mark.parametrize("operation", disturbance.OPERATIONS, ids=lambda operation: operation.__name__)
def test_every_operation_changes_some_images_and_never_its_input(operation, photo: np.ndarray):
    before = photo.copy()
    results = [operation(photo, np.random.default_rng(seed)) for seed in range(8)]
    assert all(result.shape == photo.shape and result.dtype == np.uint8 for result in results)
    assert any(not np.array_equal(result, photo) for result in results)
    assert np.array_equal(photo, before)


def test_solarize_leaves_half_of_the_images_alone(photo: np.ndarray):
    same = [np.array_equal(disturbance._solarize(photo, np.random.default_rng(seed)), photo) for seed in range(200)]
    assert 0.4 < np.mean(same) < 0.6


def test_hue_and_saturation_shifts_keep_the_value():
    image = np.full((8, 8, 3), (200, 40, 40), np.uint8)
    for seed in range(20):
        shifted = disturbance._hue_and_saturation(image, np.random.default_rng(seed))
        assert abs(int(shifted.max()) - 200) <= 1  # the value of HSV stays


def test_structure_uses_three_different_operations_then_the_shuffle(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    called: list[int] = []

    def recorder(index: int):
        def operation(image: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
            called.append(index)
            return image

        return operation

    count = len(disturbance.OPERATIONS)
    monkeypatch.setattr(disturbance, "OPERATIONS", tuple(recorder(index) for index in range(count)))
    every: set[int] = set()
    for seed in range(30):
        called.clear()
        result = structure(photo, np.random.default_rng(seed))
        assert len(called) == len(set(called)) == 3
        assert not np.array_equal(result, photo)
        assert np.array_equal(np.sort(result, axis=None), np.sort(photo, axis=None))
        every.update(called)
    assert every == set(range(count))


def test_structure_is_repeatable_and_leaves_its_input(photo: np.ndarray):
    before = photo.copy()
    first, again, other = (structure(photo, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(photo, before)


def test_an_altered_image_has_another_look_at_every_place_but_nothing_moved(monkeypatch: pytest.MonkeyPatch):
    image = np.zeros((96, 96, 3), np.uint8)
    image[20:50, 30:60] = (200, 120, 60)
    changed = 0
    for seed in range(40):
        result = altered(image, np.random.default_rng(seed))
        assert np.array_equal(result, altered(image, np.random.default_rng(seed)))
        # Away from the edge, which sharpening blurs, each region is still of one colour.
        assert len(np.unique(result[24:46, 34:56].reshape(-1, 3), axis=0)) == 1
        assert len(np.unique(result[54:, 64:].reshape(-1, 3), axis=0)) == 1
        changed += not np.array_equal(result, image)
    assert changed > 35
    used: list[int] = []

    def counted(number: int):
        return lambda given, _rng: (used.append(number), given)[1]

    monkeypatch.setattr(disturbance, "PHOTOMETRIC", tuple(counted(number) for number in range(len(PHOTOMETRIC))))
    for seed in range(30):
        altered(image, np.random.default_rng(seed))
        assert len(set(used[-3:])) == 3
    assert len(used) == 90
    assert set(used) == set(range(9))
