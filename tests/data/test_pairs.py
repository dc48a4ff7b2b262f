"""Pair number i of a run is always the same pair, and an epoch visits every reference once."""

import itertools
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import binom
from torch import Tensor

from cpr_lightning.data.augmentation import Augmentation
from cpr_lightning.data.extension import ExtendedAnomalies, RealDefects
from cpr_lightning.data.pairs import Onward, Pair, PairDataset, Supervision, collate
from cpr_lightning.data.synthesis import SyntheticDefects
from cpr_lightning.data.textures import generated_texture
from cpr_lightning.settings import SupervisedSettings

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
    real: Supervision | None = None,
) -> PairDataset:
    synthetic = SyntheticDefects(kind, generated_texture, probability=defects)
    return PairDataset(load, neighbors(), synthetic, Augmentation(augment), maps, seed, length, real)


REAL = 3


def supervision(maps: Tensor | None = None, shown: float = 0.025, pasted: float = 0.2) -> Supervision:
    """Three defective images, each of a colour that no reference has, with a defect of its own."""
    images = np.stack([np.full((SIZE, SIZE, 3), (250, 0, 40 * number), np.uint8) for number in range(REAL)])
    masks = np.zeros((REAL, SIZE, SIZE), bool)
    for number in range(REAL):
        masks[number, 8 : 20 + 4 * number, 16 * number : 16 * number + 12] = True
    real = RealDefects(images, masks)
    near = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 0, 3]])
    settings = SupervisedSettings(shown_probability=shown, pasted_probability=pasted)
    return Supervision(real, near, maps, shown, ExtendedAnomalies(real, settings))


def shown_image(pair: Pair) -> int | None:
    """Which real defective image a query is (without augmentation), or None; its first pixel lies in no defect."""
    red, green, blue = pair.query[-1, -1].tolist()
    return blue // 40 if (red, green) == (250, 0) else None


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


@pytest.mark.parametrize("kind", ["object", "texture"])
def test_without_real_defects_pairs_are_drawn_as_they_always_were(kind: Literal["object", "texture"]):
    maps = foreground() if kind == "object" else None
    pairs = dataset(kind=kind, maps=maps, augment=0.5, defects=0.9)
    synthetic, augmentation = SyntheticDefects(kind, generated_texture, probability=0.9), Augmentation(0.5)
    for number in range(3 * COUNT):
        epoch, place = divmod(number, COUNT)
        row = int(np.random.default_rng((66, epoch)).permutation(COUNT)[place])
        rng = np.random.default_rng((66, epoch, row + 1))
        other = int(rng.choice(neighbors()[row].numpy()))
        query, defect = synthetic(load(row), rng, None if maps is None else maps[row].numpy())
        assert np.array_equal(pairs[number].query.numpy(), augmentation(query, rng))
        assert np.array_equal(pairs[number].reference.numpy(), augmentation(load(other), rng))
        assert np.array_equal(pairs[number].defect.numpy(), defect)


def test_real_defects_change_the_pairs_that_have_some_and_no_other():
    maps = foreground()
    plain = dataset(maps=maps, augment=0.5, defects=0.9)
    never = dataset(maps=maps, augment=0.5, defects=0.9, real=supervision(maps[:REAL], 0, 0))
    assert all(equal(never[number], plain[number]) for number in range(40))
    some = dataset(maps=maps, augment=0.5, defects=0.9, real=supervision(maps[:REAL], 0.1, 0.2))
    changed = [not equal(some[number], plain[number]) for number in range(400)]
    assert 0.2 < np.mean(changed) < 0.36  # 1 − 0.9 × 0.8
    for number in np.flatnonzero(changed).tolist():
        assert some[number].defect.any()


def test_real_images_are_shown_and_real_defects_pasted_at_the_official_rates():
    pairs = dataset(real=supervision(), length=8000)
    shown = pasted = both = 0
    seen: set[int] = set()
    masks = supervision().defects.masks
    for number in range(8000):
        pair = pairs[number]
        which = shown_image(pair)
        if which is None:
            pasted += bool(pair.defect.any())
            continue
        shown += 1
        seen.add(which)
        both += not np.array_equal(pair.defect.numpy(), masks[which])
    low, high = binom.interval(1 - 1e-6, 8000, 0.025)
    assert low <= shown <= high
    assert seen == set(range(REAL))
    low, high = binom.interval(1 - 1e-6, 8000 - shown, 0.2)
    assert low <= pasted <= high
    low, high = binom.interval(1 - 1e-6, shown, 0.2)
    assert low <= both <= high, "on a real image too, independently"


def test_a_shown_image_comes_with_its_own_mask_foreground_and_neighbors():
    maps, real_maps = foreground(), torch.rand(REAL, 16, 16, generator=torch.Generator().manual_seed(1))
    real = supervision(real_maps, shown=1, pasted=0)
    pairs = dataset(maps=maps, defects=1.0, real=real)
    near: dict[int, set[int]] = {number: set() for number in range(REAL)}
    for number in range(150):
        pair = pairs[number]
        which = shown_image(pair)
        assert which is not None
        assert np.array_equal(pair.query.numpy(), real.defects.images[which])
        assert np.array_equal(pair.defect.numpy(), real.defects.masks[which])
        assert torch.equal(pair.query_foreground, real_maps[which])
        reference = rows(pair)[1]
        assert torch.equal(pair.reference_foreground, maps[reference])
        near[which].add(reference)
    assert near == {number: set(real.neighbors[number].tolist()) for number in range(REAL)}


def test_pasting_adds_to_the_synthetic_defect():
    plain, real = (
        dataset(kind="texture", defects=1.0),
        dataset(kind="texture", defects=1.0, real=supervision(None, 0, 1)),
    )
    grown = 0
    for number in range(30):
        before, after = plain[number], real[number]
        assert after.defect[before.defect].all()
        assert torch.equal(after.reference, before.reference)
        changed = (after.query != before.query).any(dim=2)
        assert after.defect[changed].all()
        grown += bool((after.defect & ~before.defect).any())
    assert grown > 20


def test_with_real_defects_too_a_pair_depends_on_seed_and_number_alone():
    def made(seed: int = 66) -> PairDataset:
        return dataset(
            seed, maps=foreground(), augment=0.5, defects=0.9, real=supervision(foreground()[:REAL], 0.3, 0.5)
        )

    pairs = made()
    first = [pairs[number] for number in range(30)]
    again = made()
    assert all(equal(again[number], first[number]) for number in reversed(range(30)))
    assert sum(equal(made(67)[number], first[number]) for number in range(30)) == 0


def test_shown_images_are_not_written_to():
    real = supervision(shown=0.5, pasted=0.5)
    images, masks = real.defects.images.copy(), real.defects.masks.copy()
    pairs = dataset(augment=1.0, defects=0.9, real=real)
    collate([pairs[number] for number in range(40)]).query.zero_()
    assert np.array_equal(real.defects.images, images)
    assert np.array_equal(real.defects.masks, masks)


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_every_batch_from_the_one_on_at_which_training_was_interrupted(processes: int):
    shares = [Onward(8, 24, 4, rank=rank, processes=processes) for rank in range(processes)]
    share = 4 // processes
    for batch, first in enumerate(range(8, 24, 4)):
        held = [list(each)[batch * share : (batch + 1) * share] for each in shares]
        assert list(itertools.chain(*held)) == list(range(first, first + 4))
    # Lightning counts what comes before as fetched.
    assert [len(each) for each in shares] == [24 // processes] * processes
