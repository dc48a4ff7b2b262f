"""The loader: the same batches with any number of workers, and the right ones after an interruption."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from cpr_lightning.choices import Kind
from cpr_lightning.data import datamodule
from cpr_lightning.data.datamodule import PairDataModule, ReferenceImages, loader_workers
from cpr_lightning.data.images import read_image
from cpr_lightning.data.pairs import Pair
from cpr_lightning.data.samples import Sample, Samples
from cpr_lightning.errors import DataError
from cpr_lightning.settings import SupervisedSettings, TrainingSettings

SIZE = 64
WriteParts = Callable[..., list[Path]]


@pytest.fixture
def paths(write_parts: WriteParts) -> list[Path]:
    return write_parts(5)


def data_of(paths: list[Path], *, workers: int = 0, steps: int = 4, kind: Kind = Kind.object, **settings: Any):
    samples = Samples("part", kind, [Sample(path, None, 0, "good") for path in paths], [])
    given: dict[str, Any] = {"batch_size": 3, "workers": workers} | settings
    wanted = TrainingSettings(**given)
    data = PairDataModule(samples, wanted, image_size=SIZE, seed=66, steps=steps)
    count = len(paths)
    near = torch.tensor([[other for other in range(count) if other != row][:3] for row in range(count)])
    maps = torch.full((count, 16, 16), 0.9) if kind is Kind.object else None
    data.use_index(near, maps)
    return data


def with_defective(
    paths: list[Path], *, workers: int = 0, kind: Kind = Kind.object, shown: float = 0.3, pasted: float = 0.5
) -> PairDataModule:
    """Two of the parts also serve as real defective images, each with a mask."""
    for number, path in enumerate(paths[:2]):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[20 : 30 + 5 * number, 20:40] = 255
        assert cv2.imwrite(str(path.with_name(f"mask_{number}.bmp")), mask)
    good = [Sample(path, None, 0, "good") for path in paths]
    bad = [Sample(paths[number], paths[0].with_name(f"mask_{number}.bmp"), 1, "cut") for number in range(2)]
    samples = Samples("part", kind, good, [], defective=bad)
    settings = TrainingSettings(batch_size=3, workers=workers)
    supervised = SupervisedSettings(shown_probability=shown, pasted_probability=pasted)
    data = PairDataModule(samples, settings, image_size=SIZE, seed=66, steps=4, supervised=supervised)
    maps = torch.full((len(paths), 16, 16), 0.9) if kind is Kind.object else None
    data.use_index(torch.tensor([[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]]), maps)
    return data


def equal(first: Pair, second: Pair) -> bool:
    return all(torch.equal(value, getattr(second, name)) for name, value in vars(first).items())


def test_batches_do_not_depend_on_the_number_of_workers(paths: list[Path]):
    alone = list(data_of(paths).train_dataloader())
    helped = list(data_of(paths, workers=2).train_dataloader())
    assert [batch.number.tolist() for batch in alone] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert all(equal(one, other) for one, other in zip(alone, helped, strict=True))
    assert len({batch.query.numpy().tobytes() for batch in alone}) == 4


@pytest.mark.parametrize("kind", list(Kind))
def test_batches_with_real_defects_do_not_depend_on_the_number_of_workers(paths: list[Path], kind: Kind):
    near, maps = torch.tensor([[2, 3], [3, 4]]), torch.full((2, 16, 16), 0.4)
    batches = []
    for workers in (0, 2):
        data = with_defective(paths, workers=workers, kind=kind)
        data.use_defective(near, maps if kind is Kind.object else None)
        batches.append(list(data.train_dataloader()))
    assert all(equal(one, other) for one, other in zip(*batches, strict=True))
    plain = data_of(paths, kind=kind)
    assert not all(equal(one, other) for one, other in zip(batches[0], plain.train_dataloader(), strict=True))


def test_defective_images_come_with_the_foreground_that_was_told(paths: list[Path]):
    data = with_defective(paths, shown=1.0, pasted=0.0)
    data.use_defective(torch.tensor([[2, 3], [3, 4]]), torch.full((2, 16, 16), 0.4))
    for batch in data.train_dataloader():
        assert (batch.query_foreground == 0.4).all()
        assert (batch.reference_foreground == 0.9).all()
        assert set(batch.defect.sum(dim=(1, 2)).tolist()) <= {10 * 20, 15 * 20}


def test_training_with_defective_images_waits_for_their_neighbors(paths: list[Path]):
    with pytest.raises(RuntimeError, match="index is not set"):
        with_defective(paths).train_dataloader()
    with pytest.raises(RuntimeError, match="no defective images"):
        data_of(paths).use_defective(torch.tensor([[0]]), None)


def test_batches_are_the_same_each_time_they_are_asked_for(paths: list[Path]):
    data = data_of(paths)
    for one, other in zip(data.train_dataloader(), data.train_dataloader(), strict=True):
        assert equal(one, other)


def test_a_batch_holds_queries_references_and_foregrounds(paths: list[Path]):
    batch = next(iter(data_of(paths).train_dataloader()))
    assert batch.query.shape == batch.reference.shape == (3, SIZE, SIZE, 3)
    assert batch.defect.shape == (3, SIZE, SIZE)
    assert batch.query_foreground.shape == (3, 16, 16)
    texture = next(iter(data_of(paths, kind=Kind.texture).train_dataloader()))
    assert not texture.has_foreground


@pytest.mark.parametrize(("step", "accumulated", "first"), [(0, 1, 0), (2, 1, 6), (2, 2, 12), (3, 1, 9)])
def test_a_resumed_training_goes_on_with_the_next_pair(paths: list[Path], step: int, accumulated: int, first: int):
    whole = list(data_of(paths, steps=4 * accumulated).train_dataloader())
    data = data_of(paths)
    place = SimpleNamespace(global_step=step, accumulate_grad_batches=accumulated, global_rank=0, world_size=1)
    data.trainer = place  # pyright: ignore[reportAttributeAccessIssue]
    rest = list(data.train_dataloader())
    assert rest[0].number[0].item() == first
    assert all(equal(one, other) for one, other in zip(rest, whole[first // 3 :], strict=True))


def test_training_without_the_index_is_refused(paths: list[Path]):
    samples = Samples("part", Kind.object, [Sample(path, None, 0, "good") for path in paths], [])
    data = PairDataModule(samples, TrainingSettings(), image_size=SIZE, seed=66, steps=1)
    with pytest.raises(RuntimeError, match="offline index is not set"):
        data.train_dataloader()


def test_a_wrong_folder_of_textures_is_refused_before_anything_is_read(tmp_path: Path):
    with pytest.raises(DataError, match="nowhere"):
        data_of([tmp_path / "none.png"], anomaly_sources=str(tmp_path / "nowhere"))


def test_defects_show_the_textures_of_the_given_folder(paths: list[Path], tmp_path: Path):
    (tmp_path / "textures").mkdir()
    assert cv2.imwrite(str(tmp_path / "textures" / "red.png"), np.full((80, 80, 3), (0, 0, 255), np.uint8))
    data = data_of(
        paths,
        kind=Kind.texture,
        anomaly_sources=str(tmp_path / "textures"),
        defect_probability=1.0,
        defect_scale=1,
        augment_probability=0.0,
    )
    batch = next(iter(data.train_dataloader()))
    marked = batch.query[batch.defect].float()
    # At least half of each defective pixel is red.
    assert (marked[:, 0] >= 127).all()
    assert (marked[:, 1:] <= 128).all()


def test_references_are_read_resized_and_kept(paths: list[Path]):
    images = ReferenceImages(paths, 48)
    assert len(images) == 5
    first = images(2)
    np.testing.assert_array_equal(first, read_image(paths[2], 48))
    paths[2].unlink()
    assert images(2) is first
    with pytest.raises(DataError, match=r"002\.png does not exist"):
        ReferenceImages(paths, 48)(2)


def test_references_beyond_the_room_are_read_again(paths: list[Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datamodule, "_CACHE_BYTES", 2 * 48 * 48 * 3 + 1)
    images = ReferenceImages(paths, 48)
    read: list[Path] = []

    def counted(path: Path, size: int) -> np.ndarray:
        read.append(path)
        return read_image(path, size)

    monkeypatch.setattr(datamodule, "read_image", counted)
    for _ in range(2):
        for row in range(3):
            np.testing.assert_array_equal(images(row), read_image(paths[row], 48))
    assert read == [paths[0], paths[1], paths[2], paths[2]]


def test_training_does_not_write_to_the_kept_images(paths: list[Path]):
    data = data_of(paths, augment_probability=1.0, defect_probability=1.0)
    before = [data.images(row).copy() for row in range(5)]
    list(data.train_dataloader())
    for row in range(5):
        np.testing.assert_array_equal(data.images(row), before[row])


def test_workers_are_as_asked_else_one_less_than_the_cores_and_at_most_four(monkeypatch: pytest.MonkeyPatch):
    assert loader_workers(0) == 0
    assert loader_workers(7) == 7
    for cores, expected in ((1, 0), (2, 1), (5, 4), (64, 4)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        assert loader_workers(None) == expected


def test_processes_that_train_together_share_the_cores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert [loader_workers(None, processes) for processes in (2, 4, 8, 16)] == [3, 1, 0, 0]
    assert loader_workers(2, 8) == 2


def test_processes_that_train_together_share_the_batches(paths: list[Path]):
    whole = list(data_of(paths, batch_size=4).train_dataloader())
    halves = []
    for rank in (0, 1):
        data = data_of(paths, batch_size=4)
        place = SimpleNamespace(global_step=0, accumulate_grad_batches=1, global_rank=rank, world_size=2)
        data.trainer = place  # pyright: ignore[reportAttributeAccessIssue]
        halves.append(list(data.train_dataloader()))
    for batch, *parts in zip(whole, *halves, strict=True):
        for name, value in vars(batch).items():
            assert torch.equal(value, torch.cat([getattr(part, name) for part in parts]))


def test_decoded_images_are_not_sent_to_other_processes(paths: list[Path]):
    images = ReferenceImages(paths, SIZE)
    before = images(1)
    sent = pickle.dumps(images)
    assert len(sent) < before.nbytes
    np.testing.assert_array_equal(pickle.loads(sent)(1), before)
