"""Matching with a coreset of the whole bank against brute force in NumPy; the coreset on disk."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.choices import Codec
from cpr_lightning.errors import RunError, SettingsError
from cpr_lightning.retrieval import whole_bank
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.retrieval.coreset import k_center
from cpr_lightning.retrieval.whole_bank import (
    choose_coreset,
    load_coreset,
    match_anywhere,
    save_coreset,
    spread_coreset,
)

SHAPES = [(12, 12, 16), (6, 6, 24)]
REFERENCES = 8


def features(count: int, seed: int) -> list[Tensor]:
    """Per scale (B, D, H, W), unit length over D."""
    generator = torch.Generator().manual_seed(seed)
    return [F.normalize(torch.randn(count, dim, height, width, generator=generator)) for height, width, dim in SHAPES]


def bank_of(codec: Codec = Codec.fp16, references: int = REFERENCES) -> ReferenceBank:
    bank = ReferenceBank(SHAPES, codec)
    if bank.needs_training:
        bank.train(features(references, 1))
    bank.add(features(references, 1))
    return bank


def cells_of(scale: Tensor) -> Tensor:
    return scale.movedim(1, -1).contiguous()


@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("share", [1.0, 0.1])
def test_distances_are_those_of_brute_force(codec: Codec, share: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(whole_bank, "_AT_ONCE", 100)  # so that several portions are searched
    bank = bank_of(codec)
    places = choose_coreset(bank, share, 3)
    for query, references, chosen in zip(features(2, 2), bank.stored(), places, strict=True):
        vectors = references.decode(torch.arange(REFERENCES)).flatten(0, 2).numpy()[chosen.numpy()]
        for cells in (cells_of(query), cells_of(query).double()):
            found = match_anywhere(cells, references, chosen, None)
            similarity = cells.numpy().reshape(2, -1, references.dim) @ vectors.T
            expected = np.maximum(1 - similarity.max(2), 0).reshape(found.shape)
            assert found.dtype == torch.float32
            np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)


def test_an_excluded_reference_is_not_matched():
    bank, own = bank_of(Codec.flat), features(REFERENCES, 1)
    places = choose_coreset(bank, 1.0, 0)
    rows = torch.tensor([2, 5])
    for scale, references, chosen in zip(own, bank.stored(), places, strict=True):
        query = cells_of(scale)[rows]
        assert match_anywhere(query, references, chosen, None).max() < 1e-5  # each finds itself
        found = match_anywhere(query, references, chosen, rows)
        for number, row in enumerate(rows.tolist()):
            others = np.delete(cells_of(scale).numpy(), row, axis=0).reshape(-1, references.dim)
            expected = 1 - (query[number].numpy() @ others.T).max(2)
            np.testing.assert_allclose(found[number].numpy(), expected, atol=2e-6)


def test_a_coreset_of_one_image_alone_cannot_be_matched_without_it():
    bank = bank_of()
    query = cells_of(features(1, 2)[0])
    with pytest.raises(SettingsError, match=r"retrieval\.coreset"):
        match_anywhere(query, bank.stored()[0], torch.tensor([3]), torch.tensor([0]))


@pytest.mark.parametrize("codec", [Codec.fp16, Codec.sq8])
def test_the_coreset_is_k_center_of_what_the_bank_holds(codec: Codec):
    bank = bank_of(codec)
    for references, chosen in zip(bank.stored(), choose_coreset(bank, 0.05, 9), strict=True):
        vectors = references.decode(torch.arange(REFERENCES)).flatten(0, 2).numpy()
        assert len(chosen) == round(0.05 * len(vectors))
        assert chosen.tolist() == sorted(k_center(vectors, len(chosen), 9).rows.tolist())


def test_a_share_of_all_is_all_and_the_least_is_one():
    bank = bank_of()
    assert [len(each) for each in choose_coreset(bank, 1.0, 0)] == [REFERENCES * 144, REFERENCES * 36]
    assert [len(each) for each in choose_coreset(bank, 1e-9, 0)] == [1, 1]


def test_the_choice_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    choose_coreset(bank_of(), 0.05, 0)
    assert not list(tmp_path.iterdir())


def test_an_evenly_spread_coreset_is_as_large():
    bank = bank_of()
    for spread, chosen in zip(spread_coreset(bank, 0.05), choose_coreset(bank, 0.05, 0), strict=True):
        assert len(spread) == len(spread.unique()) == len(chosen)


def test_what_is_saved_is_loaded(tmp_path: Path):
    bank = bank_of()
    places = choose_coreset(bank, 0.05, 0)
    save_coreset(tmp_path, places, bank)
    assert all(torch.equal(one, other) for one, other in zip(load_coreset(tmp_path, bank), places, strict=True))


def test_a_file_that_is_missing_damaged_or_of_another_bank_is_named(tmp_path: Path):
    bank, file = bank_of(), tmp_path / "coreset.safetensors"
    with pytest.raises(RunError, match=r"coreset\.safetensors is missing"):
        load_coreset(tmp_path, bank)
    save_coreset(tmp_path, choose_coreset(bank, 0.05, 0), bank)
    with pytest.raises(RunError, match="from 8 references, but the bank holds 9"):
        load_coreset(tmp_path, bank_of(references=9))
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(RunError, match=r"coreset\.safetensors cannot be read"):
        load_coreset(tmp_path, bank)
