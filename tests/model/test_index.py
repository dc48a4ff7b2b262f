"""The offline index is read back as it was written, or refused."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cpr_lightning.errors import RunError
from cpr_lightning.model.index import ReferenceIndex


def made_up(*, foreground: bool, references: int = 5) -> ReferenceIndex:
    generator = torch.Generator().manual_seed(0)
    return ReferenceIndex(
        codebook=torch.rand(12, 6, generator=generator),
        histograms=torch.rand(references, 25, 13, generator=generator),
        neighbors=torch.randint(references, (references, 3), generator=generator),
        foreground_weight=torch.rand(6, generator=generator) if foreground else None,
        foreground_bias=torch.tensor(0.25) if foreground else None,
        foreground_maps=torch.rand(references, 8, 8, generator=generator) if foreground else None,
    )


@pytest.mark.parametrize("foreground", [True, False])
def test_an_index_is_read_back_the_same(tmp_path: Path, foreground: bool):
    index = made_up(foreground=foreground)
    index.save(tmp_path / "new" / "index.safetensors")
    read = ReferenceIndex.load(tmp_path / "new" / "index.safetensors")
    assert len(read) == 5
    for field in fields(ReferenceIndex):
        before, after = getattr(index, field.name), getattr(read, field.name)
        assert (before is None) == (after is None), field.name
        if before is not None:
            assert torch.equal(before, after), field.name
            assert before.dtype == after.dtype, field.name
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["index.safetensors"]


def test_views_that_are_not_contiguous_can_be_saved(tmp_path: Path):
    index = ReferenceIndex(torch.rand(6, 12).T, torch.rand(5, 25, 13), torch.arange(30).view(5, 6)[:, ::2])
    index.save(tmp_path / "index.safetensors")
    read = ReferenceIndex.load(tmp_path / "index.safetensors")
    assert torch.equal(read.codebook, index.codebook)
    assert torch.equal(read.neighbors, index.neighbors)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_file_that_is_cut_short_is_named(tmp_path: Path, share: float):
    path = tmp_path / "index.safetensors"
    made_up(foreground=True).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(RunError, match=f"{path} cannot be read"):
        ReferenceIndex.load(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(RunError, match=r"index\.safetensors is missing"):
        ReferenceIndex.load(tmp_path / "index.safetensors")


@pytest.mark.parametrize("tensors", [{"codebook": torch.zeros(2, 2)}, {"layer1.weight": torch.zeros(2)}])
def test_a_file_that_holds_something_else_is_named(tmp_path: Path, tensors: dict[str, torch.Tensor]):
    save_file(tensors, tmp_path / "index.safetensors")
    with pytest.raises(RunError, match=r"index\.safetensors cannot be read as an index"):
        ReferenceIndex.load(tmp_path / "index.safetensors")


def test_parts_that_do_not_go_together_are_refused():
    good = made_up(foreground=True)
    with pytest.raises(ValueError, match="5 histograms, but neighbors of 4"):
        ReferenceIndex(good.codebook, good.histograms, good.neighbors[:4])
    with pytest.raises(ValueError, match="5 histograms, but 4 foreground maps"):
        ReferenceIndex(
            good.codebook,
            good.histograms,
            good.neighbors,
            good.foreground_weight,
            good.foreground_bias,
            torch.zeros(4, 8, 8),
        )
