"""Pair number i of a run is always the same pair, and an epoch visits every reference once."""

import itertools
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cpr_lightning.data.augmentation import Augmentation
from cpr_lightning.data.defect_sources import generated_texture
from cpr_lightning.data.pairs import Onward, Pair, PairDataset, collate
from cpr_lightning.data.synthesis import SyntheticDefects

COUNT, NEIGHBORS, SIZE = 7, 3, 64


def load(row: int) -> NDArray[np.uint8]:
    """Each reference has a colour of its own, so that a pair shows which two it is."""
    return np.full((SIZE, SIZE, 3), 20 + 30 * row, np.uint8)


def neighbors() -> Tensor:
    rng = np.random.default_rng(0)
    rows = [rng.permutation([other for other in range(COUNT) if other != row])[:NEIGHBORS] for row in range(COUNT)]
    return torch.from_numpy(np.stack(rows))


def foreground() -> Tensor:
    maps = torch.rand(COUNT, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.5
    maps[:, 4:12, 4:12] += 0.5
    return maps


def dataset(
    seed: int = 66,
    *,
    kind: Literal["object", "texture"] = "object",
    maps: Tensor | None = None,
    augment: float = 0.0,
    defects: float = 0.0,
    length: int = 70,
) -> PairDataset:
    synthetic = SyntheticDefects(kind, generated_texture, probability=defects)
    return PairDataset(load, neighbors(), synthetic, Augmentation(augment), maps, seed, length)


def rows(pair: Pair) -> tuple[int, int]:
    """Which references query and reference are (without augmentation; a defect covers less than half)."""
    found = [float(each.float().median()) for each in (pair.query, pair.reference)]
    return round((found[0] - 20) / 30), round((found[1] - 20) / 30)


def equal(first: Pair, second: Pair) -> bool:
    return all(torch.equal(value, getattr(second, name)) for name, value in vars(first).items())


def test_a_pair_depends_on_seed_and_number_alone():
    ahead = dataset(augment=0.5, defects=0.9, maps=foreground())
    pairs = [ahead[number] for number in range(20)]
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    back = dataset(augment=0.5, defects=0.9, maps=foreground())
    for number in reversed(range(20)):
        assert equal(back[number], pairs[number])
    other = dataset(67, augment=0.5, defects=0.9, maps=foreground())
    assert not any(torch.equal(other[number].query, pairs[number].query) for number in range(20))


def test_every_reference_is_the_query_once_an_epoch_and_each_epoch_has_its_own_order():
    pairs = dataset()
    orders = [[rows(pairs[number])[0] for number in range(epoch * COUNT, epoch * COUNT + COUNT)] for epoch in range(6)]
    assert all(sorted(order) == list(range(COUNT)) for order in orders)
    assert len({tuple(order) for order in orders}) == 6


def test_the_reference_is_one_of_the_querys_neighbors_never_itself_and_each_comes_up():
    pairs, near = dataset(), neighbors()
    seen: dict[int, set[int]] = {row: set() for row in range(COUNT)}
    for number in range(30 * COUNT):
        query, reference = rows(pairs[number])
        assert query != reference
        seen[query].add(reference)
    assert seen == {row: set(near[row].tolist()) for row in range(COUNT)}


def test_an_image_has_another_defect_in_each_epoch():
    pairs = dataset(defects=1.0)
    masks: dict[int, list[bytes]] = {}
    for number in range(4 * COUNT):
        pair = pairs[number]
        assert pair.defect.any()
        masks.setdefault(rows(pair)[0], []).append(pair.defect.numpy().tobytes())
    assert all(len(set(each)) == 4 for each in masks.values())


def test_two_images_of_an_epoch_have_defects_of_their_own():
    pairs = dataset(defects=1.0)
    for first, second in itertools.combinations([pairs[number].defect for number in range(COUNT)], 2):
        assert not torch.equal(first, second)


def test_the_query_differs_from_its_clean_image_on_the_defect_alone():
    pairs = dataset(kind="texture", defects=1.0)
    for number in range(10):
        pair = pairs[number]
        row = rows(pair)[0]
        changed = (pair.query.numpy() != load(row)).any(axis=2)
        assert not changed[~pair.defect.numpy()].any()
        assert changed[pair.defect.numpy()].mean() > 0.5
        assert np.array_equal(pair.reference.numpy(), load(rows(pair)[1]))


def test_nine_in_ten_queries_have_a_defect():
    pairs = dataset(defects=0.9)
    share = np.mean([bool(pairs[number].defect.any()) for number in range(400)])
    assert share == pytest.approx(0.9, abs=0.06)


def test_foreground_maps_are_those_of_query_and_reference():
    maps = foreground()
    pair = dataset(maps=maps)[3]
    query, reference = rows(pair)
    assert pair.has_foreground
    assert torch.equal(pair.query_foreground, maps[query])
    assert torch.equal(pair.reference_foreground, maps[reference])


def test_defects_of_objects_touch_the_foreground():
    maps = torch.zeros(COUNT, 16, 16)
    maps[:, 10:14, 2:6] = 1
    pairs = dataset(defects=1.0, maps=maps)
    for number in range(8):
        assert pairs[number].defect[40:56, 8:24].any()


def test_textures_have_no_foreground():
    pair = dataset()[0]
    assert not pair.has_foreground
    assert pair.query_foreground.numel() == pair.reference_foreground.numel() == 0


def test_augmentation_is_drawn_apart_for_query_and_reference():
    pairs = dataset(augment=1.0)
    for number in range(5):
        pair = pairs[number]
        marks = [(each == 255).all(-1) | (each == 0).all(-1) for each in (pair.query, pair.reference)]
        assert not torch.equal(marks[0], marks[1])


def test_pairs_have_the_documented_types():
    pair = dataset(defects=1.0, maps=foreground())[5]
    assert pair.query.shape == pair.reference.shape == (SIZE, SIZE, 3)
    assert pair.query.dtype == pair.reference.dtype == torch.uint8
    assert (pair.defect.shape, pair.defect.dtype) == ((SIZE, SIZE), torch.bool)
    assert pair.query_foreground.dtype == torch.float32
    assert pair.number.item() == 5
    assert pair.number.dtype == torch.int64


def test_a_batch_stacks_pairs():
    pairs = dataset(defects=0.5, maps=foreground())
    batch = collate([pairs[4], pairs[1]])
    assert batch.number.tolist() == [4, 1]
    assert batch.has_foreground
    for name, value in vars(batch).items():
        assert value.shape[0] == 2
        assert torch.equal(value[1], getattr(pairs[1], name))
    assert not collate([dataset()[0]]).has_foreground


def test_the_length_is_that_of_the_training():
    assert len(dataset(length=123)) == 123


def test_onward_goes_from_where_it_was_to_the_end_but_counts_from_the_very_start():
    sampler = Onward(40, 64)
    assert list(sampler) == list(range(40, 64))
    assert list(sampler) == list(range(40, 64))
    assert len(sampler) == 64
    assert list(Onward(0, 3)) == [0, 1, 2]
    assert list(Onward(3, 3)) == []
