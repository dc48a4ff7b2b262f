"""Simulated references are always the same, lie in a bank on disk, and let a cascade work as real ones do."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cpr_lightning import simulated
from cpr_lightning.choices import Codec, Kind
from cpr_lightning.errors import SettingsError
from cpr_lightning.model.cascade import CascadeOutput, CascadePatchRetrieval
from cpr_lightning.settings import BackboneSettings, BranchSettings, Settings
from cpr_lightning.simulated import simulate, write_pictures

SIZE, REFERENCES = 64, 37  # neither a multiple of the images that are stored over and over, nor fewer than they


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_pictures(tmp_path_factory.mktemp("pictures") / "tiny", Kind.object, SIZE, 6)


def small(codec: Codec = Codec.fp16, foreground: bool | None = None) -> Settings:
    settings = Settings(
        image_size=SIZE, backbone=BackboneSettings(name="resnet18", weights="random"), branch=BranchSettings(dim=8)
    )
    settings.bank.codec, settings.foreground.enabled = codec, foreground
    return settings


def made(folder: Path, pictures: list[Path], kind: Kind = Kind.object, **changes: object) -> CascadePatchRetrieval:
    folder.mkdir(exist_ok=True)
    return simulate(small(**changes), kind, REFERENCES, pictures, folder)  # pyright: ignore[reportArgumentType]


def scores(cascade: CascadePatchRetrieval, pictures: list[Path]) -> CascadeOutput:
    read = [cv2.cvtColor(np.asarray(cv2.imread(str(path))), cv2.COLOR_BGR2RGB) for path in pictures]
    return cascade(torch.from_numpy(np.stack(read)))


@pytest.mark.parametrize("kind", list(Kind))
def test_pictures_are_of_the_size_and_number_asked_for_and_differ(kind: Kind, tmp_path: Path):
    paths = write_pictures(tmp_path / "tiny", kind, 48, 3)
    read = [np.asarray(cv2.imread(str(path))) for path in paths]
    assert [picture.shape for picture in read] == [(48, 48, 3)] * 3
    assert (read[0] != read[1]).any()
    assert ("washer" in str(paths[0])) == (kind is Kind.object)


@pytest.mark.parametrize("codec", list(Codec))
def test_the_bank_lies_on_disk_and_holds_unit_vectors(codec: Codec, pictures: list[Path], tmp_path: Path):
    cascade = made(tmp_path, pictures, codec=codec)
    assert {path.name for path in tmp_path.glob("*.faiss")} == {"scale1.faiss", "scale2.faiss"}
    assert not any(index.codes.is_owned for index in cascade.bank.indexes), "not mapped from the files"
    for scale, side in zip(cascade.bank.stored(), (16, 8), strict=True):
        vectors = scale.decode(torch.arange(REFERENCES))
        assert vectors.shape == (REFERENCES, side, side, 8)
        coarse = 0.5 if codec is Codec.pq else 0.03
        torch.testing.assert_close(vectors.norm(dim=3), torch.ones(REFERENCES, side, side), atol=coarse, rtol=0)
        assert not torch.equal(vectors[0], vectors[1])


def test_a_simulated_cascade_is_the_same_every_time(pictures: list[Path], tmp_path: Path):
    one, two = (made(tmp_path / name, pictures) for name in ("one", "two"))
    for first, second in zip(one.bank.stored(), two.bank.stored(), strict=True):
        assert torch.equal(first.codes, second.codes)
    assert torch.equal(one.retrieval.histograms, two.retrieval.histograms)
    assert one.reference_foreground is not None
    assert two.reference_foreground is not None
    assert torch.equal(one.reference_foreground, two.reference_foreground)
    first, second = scores(one, pictures), scores(two, pictures)
    assert first.anomaly_map.shape == (6, SIZE, SIZE)
    assert (first.score > 0).all()
    # Convolutions may round differently from one place in memory to another.
    torch.testing.assert_close(first.anomaly_map, second.anomaly_map, atol=1e-3, rtol=0)


def test_images_are_compared_with_different_references(pictures: list[Path], tmp_path: Path):
    """Else the same few pages of the bank would be read over and over, which is faster than what is to be measured."""
    neighbors = scores(made(tmp_path, pictures), pictures).neighbors
    assert neighbors.shape == (6, 10)
    assert len({tuple(sorted(row)) for row in neighbors.tolist()}) > 1
    histograms = made(tmp_path, pictures).retrieval.histograms
    assert histograms.shape == (REFERENCES, 25, 13)
    torch.testing.assert_close(histograms.sum(2), torch.ones(REFERENCES, 25))


@pytest.mark.parametrize(
    ("kind", "enabled", "expected"),
    [(Kind.object, None, True), (Kind.texture, None, False), (Kind.texture, True, True), (Kind.object, False, False)],
)
def test_only_objects_have_a_foreground_unless_told_otherwise(
    kind: Kind, enabled: bool | None, expected: bool, pictures: list[Path], tmp_path: Path
):
    cascade = made(tmp_path, pictures, kind, foreground=enabled)
    assert (cascade.network.foreground is not None) == expected
    assert (cascade.reference_foreground is not None) == expected


def test_a_bank_that_no_disk_can_hold_is_refused_before_it_is_made(pictures: list[Path], tmp_path: Path):
    with pytest.raises(SettingsError, match=r"references=10000000000 make a bank of .* GB, but .* at most"):
        simulate(small(), Kind.object, 10**10, pictures, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_memory_and_disk_are_both_looked_at(pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    needed = REFERENCES * (16 * 16 + 8 * 8) * 8 * 2
    monkeypatch.setattr(simulated, "_free_memory", lambda: needed - 1)
    with pytest.raises(SettingsError, match=r"the memory has 0\.0 GB free: 36 references at most"):
        made(tmp_path, pictures)
    monkeypatch.setattr(simulated, "_free_memory", lambda: needed)
    made(tmp_path, pictures)
    monkeypatch.setattr(simulated, "_free_memory", lambda: None)  # a system that does not say
    made(tmp_path, pictures)
