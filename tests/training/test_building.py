"""What the offline index holds of a category's references."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import rel_entr

from cpr_lightning.choices import Divergence, Reading
from cpr_lightning.data.datamodule import ReferenceImages
from cpr_lightning.errors import DataError
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.foreground import Foreground
from cpr_lightning.model.index import ReferenceIndex
from cpr_lightning.settings import ForegroundSettings, RetrievalSettings
from cpr_lightning.training.building import IndexSettings, build_index, describe

CPU = torch.device("cpu")
SIZE = 64
WriteParts = Callable[..., list[Path]]


def retrieval(**changes: object) -> RetrievalSettings:
    given = {"neighbors": 4, "codebook_vectors": 2000, "codebook_restarts": 1} | changes
    return RetrievalSettings(**given)  # pyright: ignore[reportArgumentType]


def build(
    backbone: Backbone, paths: list[Path], foreground: ForegroundSettings | None = None, **changes: object
) -> ReferenceIndex:
    return build_index(backbone, ReferenceImages(paths, SIZE), IndexSettings(retrieval(**changes), foreground), CPU)


@pytest.fixture
def paths(write_parts: WriteParts) -> list[Path]:
    return write_parts(19)  # more than one batch


@pytest.mark.parametrize("divergence", list(Divergence))
def test_neighbors_are_the_nearest_others_by_the_trimmed_divergence(
    small_backbone: Backbone, paths: list[Path], divergence: Divergence
):
    index = build(small_backbone, paths, divergence=divergence)
    values = index.histograms.double().numpy() + 1e-8
    assert index.neighbors.shape == (19, 4)
    for row in range(19):
        first, second = values[row][None], values
        if divergence is Divergence.paper:
            first, second = second, first
        blocks = (first - second) ** 2 if divergence is Divergence.l2 else rel_entr(first, second)
        distance = np.sort(blocks.sum(2), axis=1)[:, :20].sum(1)
        found = index.neighbors[row].numpy()
        assert row not in found
        assert len(set(found.tolist())) == 4
        others = np.delete(distance, row)
        np.testing.assert_allclose(distance[found], np.sort(others)[:4], rtol=1e-6, atol=1e-9)


def test_a_copy_of_an_image_is_its_nearest_neighbor_and_not_mistaken_for_itself(
    small_backbone: Backbone, write_parts: WriteParts
):
    paths = write_parts(6)
    index = build(small_backbone, [paths[0], *paths], neighbors=3)
    assert index.neighbors[0, 0] == 1
    assert index.neighbors[1, 0] == 0


def test_histograms_are_those_of_the_codebooks_words(small_backbone: Backbone, paths: list[Path]):
    index = build(small_backbone, paths, blocks=4)
    raw = small_backbone(torch.from_numpy(np.stack([ReferenceImages(paths, SIZE)(7)])))[0][0]
    codes = cdist(raw.flatten(1).T.numpy(), index.codebook.numpy()).argmin(1).reshape(4, 4, 4, 4)
    for row in range(4):
        for column in range(4):
            words = np.bincount(codes[row, :, column].ravel() + 1, minlength=13) / 16
            np.testing.assert_allclose(index.histograms[7, row * 4 + column].numpy(), words, atol=1e-6)


def test_the_codebook_is_learned_from_the_features(small_backbone: Backbone, paths: list[Path]):
    index = build(small_backbone, paths, codebook_vectors=10**6)
    images = torch.from_numpy(np.stack([ReferenceImages(paths, SIZE)(row) for row in range(19)]))
    vectors = small_backbone(images)[0].movedim(1, -1).reshape(-1, 64).numpy()
    words = cdist(vectors, index.codebook.numpy()).argmin(1)
    assert index.codebook.shape == (12, 64)
    used = np.unique(words)
    assert len(used) > 6
    spread = np.linalg.norm(vectors.std(0))
    for word in used:
        assert np.linalg.norm(vectors[words == word].mean(0) - index.codebook[word].numpy()) < 0.05 * spread


def test_the_same_images_give_the_same_index(small_backbone: Backbone, paths: list[Path]):
    first, again = (build(small_backbone, paths, ForegroundSettings()) for _ in range(2))
    for name, value in vars(first).items():
        assert torch.equal(value, getattr(again, name)), name


def test_without_a_foreground_branch_there_are_no_maps(small_backbone: Backbone, paths: list[Path]):
    index = build(small_backbone, paths)
    assert (index.foreground_weight, index.foreground_bias, index.foreground_maps) == (None, None, None)


@pytest.mark.parametrize("method", list(Reading))
def test_the_foreground_shows_the_part_and_the_maps_are_of_the_branch(
    small_backbone: Backbone, paths: list[Path], method: Reading
):
    index = build(small_backbone, paths, ForegroundSettings(method=method))
    assert index.foreground_maps is not None
    assert index.foreground_weight is not None
    assert index.foreground_bias is not None
    assert index.foreground_maps.shape == (19, 16, 16)
    middle, frame = index.foreground_maps[:, 6:10, 6:10], index.foreground_maps[:, 0]
    assert middle.mean() > frame.mean() + 0.4
    images = torch.from_numpy(np.stack([ReferenceImages(paths, SIZE)(row) for row in range(19)]))
    branch = Foreground(index.foreground_weight, index.foreground_bias)
    torch.testing.assert_close(branch(small_backbone(images)[0]), index.foreground_maps, rtol=1e-3, atol=1e-4)


def test_fewer_references_than_neighbors_are_refused(small_backbone: Backbone, write_parts: WriteParts):
    with pytest.raises(DataError, match=r"There are 3 good images, but retrieval\.neighbors=4"):
        build(small_backbone, write_parts(3))


def test_one_reference_alone_is_refused(small_backbone: Backbone, write_parts: WriteParts):
    with pytest.raises(DataError, match="1 good image"):
        build(small_backbone, write_parts(1), neighbors=1)


def test_as_many_references_as_neighbors_leave_each_its_others(small_backbone: Backbone, write_parts: WriteParts):
    index = build(small_backbone, write_parts(4))
    assert [sorted(row) for row in index.neighbors.tolist()] == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]


def test_nothing_is_left_in_the_temporary_folder(
    small_backbone: Backbone, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    build(small_backbone, paths)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("foreground", [ForegroundSettings(), None])
def test_other_images_are_described_as_references_are(
    small_backbone: Backbone, paths: list[Path], foreground: ForegroundSettings | None
):
    index = build(small_backbone, paths[:12], foreground)
    images = np.stack([ReferenceImages(paths, SIZE)(row) for row in range(19)])
    near, maps = describe(small_backbone, images, index, retrieval(), CPU)
    assert near.shape == (19, 4)
    # A reference finds itself, and what the index says are its nearest others.
    for row in range(12):
        assert near[row].tolist().count(row) == 1
        assert near[row][near[row] != row].tolist() == index.neighbors[row, :3].tolist()
    if foreground is None:
        assert maps is None
        return
    assert maps is not None
    assert index.foreground_maps is not None
    assert maps.shape == (19, 16, 16)
    torch.testing.assert_close(maps[:12], index.foreground_maps, rtol=1e-3, atol=1e-4)


def test_images_that_are_no_references_are_described_by_the_references_of_least_divergence(
    small_backbone: Backbone, paths: list[Path]
):
    index = build(small_backbone, paths[:12], blocks=4)
    images = np.stack([ReferenceImages(paths, SIZE)(row) for row in range(12, 19)])
    near, _ = describe(small_backbone, images, index, retrieval(blocks=4), CPU)
    assert near.shape == (7, 4)
    for features, found in zip(small_backbone(torch.from_numpy(images))[0], near.numpy(), strict=True):
        codes = cdist(features.flatten(1).T.numpy(), index.codebook.numpy()).argmin(1).reshape(4, 4, 4, 4)
        blocks = [codes[row, :, column].ravel() + 1 for row in range(4) for column in range(4)]
        words = np.stack([np.bincount(block, minlength=13) / 16 for block in blocks])
        divergence = rel_entr(words[None] + 1e-8, index.histograms.double().numpy() + 1e-8).sum(2)
        distance = np.sort(divergence, axis=1)[:, :11].sum(1)
        assert len(set(found.tolist())) == 4
        np.testing.assert_allclose(distance[found], np.sort(distance)[:4], rtol=1e-5, atol=1e-8)
