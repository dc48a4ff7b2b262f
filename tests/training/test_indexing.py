"""The index cache: found again when all is the same, built anew when anything differs, never half there."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from cpr_lightning.choices import Divergence, Reading, Search
from cpr_lightning.data.datamodule import ReferenceImages
from cpr_lightning.errors import RunError
from cpr_lightning.files import read_json
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.index import ReferenceIndex
from cpr_lightning.settings import ForegroundSettings, RetrievalSettings
from cpr_lightning.training import indexing
from cpr_lightning.training.building import IndexSettings, build_index
from cpr_lightning.training.indexing import OfflineIndex, any_other, cached_index, fingerprint

CPU = torch.device("cpu")
SIZE = 64
SETTINGS = IndexSettings(
    RetrievalSettings(neighbors=3, codebook_vectors=500, codebook_restarts=1), ForegroundSettings()
)
WriteParts = Callable[..., list[Path]]


@pytest.fixture
def images(write_parts: WriteParts) -> ReferenceImages:
    return ReferenceImages(write_parts(5), SIZE)


def same(first: ReferenceIndex, second: ReferenceIndex) -> bool:
    return all(torch.equal(value, getattr(second, name)) for name, value in vars(first).items())


def never(*values: object, **named: object) -> Any:
    del values, named
    pytest.fail("the index was built although it is in the cache")


def indexes(cache: Path) -> list[Path]:
    """The folders of a cache, without that of its locks."""
    return [path for path in cache.glob("*") if path.name != ".locks"]


def test_of_two_that_want_an_index_one_builds_it(
    small_backbone: Backbone, images: ReferenceImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    builds: list[str] = []
    began = threading.Event()

    def slow(*arguments: Any) -> ReferenceIndex:
        builds.append(threading.current_thread().name)
        began.set()
        time.sleep(0.5)
        return build_index(*arguments)

    monkeypatch.setattr(indexing, "build_index", slow)
    found: list[ReferenceIndex] = []

    def want() -> None:
        found.append(cached_index(small_backbone, images, SETTINGS, tmp_path, CPU))

    threads = [threading.Thread(target=want, name=name) for name in ("first", "second")]
    threads[0].start()
    assert began.wait(120)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert builds == ["first"]
    assert same(found[0], found[1])


def test_an_index_is_built_once(
    small_backbone: Backbone, images: ReferenceImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cache = tmp_path / "new" / "cache"
    built = cached_index(small_backbone, images, SETTINGS, cache, CPU)
    folder = cache / fingerprint(small_backbone, images, SETTINGS)
    assert [path.name for path in indexes(cache)] == [folder.name]
    assert sorted(path.name for path in folder.iterdir()) == ["index.safetensors", "settings.json"]
    assert read_json(folder / "settings.json")["retrieval"]["neighbors"] == 3
    monkeypatch.setattr(indexing, "build_index", never)
    assert same(cached_index(small_backbone, ReferenceImages(images.paths, SIZE), SETTINGS, cache, CPU), built)


def test_the_callback_builds_once_for_index_and_training(
    small_backbone: Backbone, images: ReferenceImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    callback = OfflineIndex(SETTINGS, tmp_path / "cache", CPU)
    index = callback.prepare(small_backbone, images)
    monkeypatch.setattr(indexing, "build_index", never)
    monkeypatch.setattr(indexing, "fingerprint", never)
    assert callback.prepare(small_backbone, images) is index


def test_names_of_files_and_what_scoring_alone_needs_do_not_change_the_fingerprint(
    small_backbone: Backbone, images: ReferenceImages, tmp_path: Path
):
    expected = fingerprint(small_backbone, images, SETTINGS)
    moved = []
    for number, path in enumerate(images.paths):
        moved.append(tmp_path / "moved" / f"part_{number}.png")
        moved[-1].parent.mkdir(exist_ok=True)
        moved[-1].write_bytes(path.read_bytes())
    assert fingerprint(small_backbone, ReferenceImages(moved, SIZE), SETTINGS) == expected
    scoring = replace(SETTINGS.retrieval, windows=[5, 3], search=Search.coreset, coreset=0.5)
    assert fingerprint(small_backbone, images, SETTINGS._replace(retrieval=scoring)) == expected


RETRIEVAL_CHANGES: list[dict[str, Any]] = [
    {"neighbors": 2},
    {"blocks": 4},
    {"clusters": 11},
    {"ignored_blocks": 4},
    {"divergence": Divergence.paper},
    {"codebook_vectors": 499},
    {"codebook_restarts": 2},
    {"codebook_seed": 67},
]
FOREGROUND_CHANGES: list[dict[str, Any]] = [
    {"method": Reading.paper},
    {"border": 0.1},
    {"centre": 0.5},
    {"vectors": 99},
]


@pytest.mark.parametrize("change", RETRIEVAL_CHANGES, ids=lambda change: next(iter(change)))
def test_each_setting_of_the_retrieval_changes_the_fingerprint(
    small_backbone: Backbone, images: ReferenceImages, change: dict[str, Any]
):
    changed = SETTINGS._replace(retrieval=replace(SETTINGS.retrieval, **change))
    assert fingerprint(small_backbone, images, changed) != fingerprint(small_backbone, images, SETTINGS)


@pytest.mark.parametrize("change", FOREGROUND_CHANGES, ids=lambda change: next(iter(change)))
def test_each_setting_of_the_foreground_changes_the_fingerprint(
    small_backbone: Backbone, images: ReferenceImages, change: dict[str, Any]
):
    changed = SETTINGS._replace(foreground=replace(ForegroundSettings(), **change))
    assert fingerprint(small_backbone, images, changed) != fingerprint(small_backbone, images, SETTINGS)
    off = SETTINGS._replace(foreground=None)
    assert fingerprint(small_backbone, images, off) != fingerprint(small_backbone, images, SETTINGS)


def test_other_images_another_size_and_another_backbone_change_the_fingerprint(
    small_backbone: Backbone, images: ReferenceImages
):
    before = fingerprint(small_backbone, images, SETTINGS)
    other_backbone = Backbone("resnet18", "random", [1, 2], seed=1, statistics=Reading.paper)
    same_weights = [
        Backbone("resnet18", "random", strides=[2, 8], statistics=Reading.paper),
        Backbone("resnet18.tv_in1k", "random", statistics=Reading.paper),
    ]
    assert all(each.fingerprint == small_backbone.fingerprint for each in same_weights)
    others = {
        before,
        fingerprint(other_backbone, images, SETTINGS),
        # The same weights, but raw features at stride 2, and under a name that may compute otherwise.
        *(fingerprint(each, images, SETTINGS) for each in same_weights),
        fingerprint(small_backbone, ReferenceImages(images.paths, SIZE + 1), SETTINGS),
        fingerprint(small_backbone, ReferenceImages(images.paths[:-1], SIZE), SETTINGS),
        fingerprint(small_backbone, ReferenceImages(images.paths[::-1], SIZE), SETTINGS),  # rows mean other images
    }
    picture = cv2.imread(str(images.paths[2]))
    assert picture is not None
    picture[3, 3] ^= 1
    assert cv2.imwrite(str(images.paths[2]), picture)
    others.add(fingerprint(small_backbone, images, SETTINGS))
    assert len(others) == 8


def test_a_changed_image_is_indexed_anew(small_backbone: Backbone, images: ReferenceImages, tmp_path: Path):
    cache = tmp_path / "cache"
    before = cached_index(small_backbone, images, SETTINGS, cache, CPU)
    images.paths[0].write_bytes(images.paths[4].read_bytes())
    after = cached_index(small_backbone, ReferenceImages(images.paths, SIZE), SETTINGS, cache, CPU)
    assert len(indexes(cache)) == 2
    assert not torch.equal(before.histograms, after.histograms)
    assert torch.equal(after.histograms[0], after.histograms[4])


@pytest.mark.parametrize("place", ["build_index", "write_json"])
def test_an_interrupted_build_leaves_no_folder_and_can_be_repeated(
    small_backbone: Backbone,
    images: ReferenceImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
):
    cache = tmp_path / "cache"

    def interrupted(*values: object) -> None:
        del values
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(indexing, place, interrupted)
        with pytest.raises(KeyboardInterrupt):
            cached_index(small_backbone, images, SETTINGS, cache, CPU)
    assert indexes(cache) == []
    cached_index(small_backbone, images, SETTINGS, cache, CPU)
    assert len(indexes(cache)) == 1


def test_a_damaged_index_is_refused_and_named(small_backbone: Backbone, images: ReferenceImages, tmp_path: Path):
    cache = tmp_path / "cache"
    cached_index(small_backbone, images, SETTINGS, cache, CPU)
    path = cache / fingerprint(small_backbone, images, SETTINGS) / "index.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match=rf"{path} cannot be read.*delete it"):
        cached_index(small_backbone, images, SETTINGS, cache, CPU)
    path.unlink()  # as the message says
    rebuilt = cached_index(small_backbone, images, SETTINGS, cache, CPU)
    assert len(rebuilt) == 5
    assert path.is_file()


def test_neighbors_of_the_cached_index_are_rows_of_the_images(
    small_backbone: Backbone, images: ReferenceImages, tmp_path: Path
):
    index = cached_index(small_backbone, images, SETTINGS, tmp_path / "cache", CPU)
    assert index.neighbors.shape == (5, 3)
    assert np.isin(index.neighbors.numpy(), np.arange(5)).all()
    assert not (index.neighbors == torch.arange(5)[:, None]).any()


@pytest.mark.parametrize("references", [2, 5])
def test_any_other_reference_is_every_one_but_the_own(references: int):
    rows = any_other(references)
    assert rows.shape == (references, references - 1)
    for row, others in enumerate(rows.tolist()):
        assert sorted(others) == [other for other in range(references) if other != row]
    assert rows.untyped_storage().nbytes() <= 16 * references
