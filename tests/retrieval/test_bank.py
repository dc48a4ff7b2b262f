"""The bank gives back what was put in, without a copy, and refuses files that are not its own."""

from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.errors import RunError
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.settings import Codec

SHAPES = [(6, 5, 8), (3, 4, 12)]
CODECS = list(Codec)


def images(count: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [F.normalize(torch.randn(count, d, h, w, generator=generator), dim=1) for h, w, d in SHAPES]


def filled(codec: Codec, count: int = 4) -> ReferenceBank:
    bank = ReferenceBank(SHAPES, codec, capacity=count)
    bank.add(images(count))
    return bank


def mapping_of(address: int) -> str:
    """The line of /proc/self/maps that the address lies in."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(end, 16) for end in line.split()[0].split("-"))
        if first <= address < last:
            return line
    return ""


@pytest.mark.parametrize("codec", CODECS)
def test_views_are_what_was_added(codec: Codec):
    bank = ReferenceBank(SHAPES, codec)
    bank.add(images(3, seed=1))
    bank.add(images(2, seed=2))
    assert len(bank) == 5
    for view, first, second, (height, width, dim) in zip(bank.views(), images(3, 1), images(2, 2), SHAPES, strict=True):
        added = torch.cat([first, second]).permute(0, 2, 3, 1)
        assert view.shape == (5, height, width, dim)
        if codec is Codec.flat:
            assert view.dtype == torch.float32
            assert torch.equal(view, added)
        else:
            assert view.dtype == torch.float16
            torch.testing.assert_close(view.float(), added, rtol=2**-11, atol=2**-24)


@pytest.mark.parametrize("codec", CODECS)
def test_views_are_the_storage_of_faiss_itself(codec: Codec):
    bank = filled(codec)
    view = bank.views()[0]
    assert view.data_ptr() == bank.views()[0].data_ptr()
    assert view.data_ptr() == int(bank.indexes[0].codes.data())
    view[2, 1, 3, 4] = 0.5  # only to show it
    row = (2 * 6 + 1) * 5 + 3
    assert bank.indexes[0].reconstruct(row)[4] == 0.5


@pytest.mark.parametrize("codec", CODECS)
def test_faiss_finds_each_added_vector_at_its_row(codec: Codec):
    bank = filled(codec)
    vectors = images(4)[1].permute(0, 2, 3, 1).reshape(-1, 12).numpy()
    _, found = bank.indexes[1].search(np.ascontiguousarray(vectors), 1)
    assert np.array_equal(found[:, 0], np.arange(len(vectors)))


def test_storage_does_not_move_while_there_is_room():
    bank = ReferenceBank(SHAPES, Codec.flat, capacity=6)
    bank.add(images(1))
    before = [view.data_ptr() for view in bank.views()]
    for number in range(5):
        bank.add(images(1, seed=number))
    assert [view.data_ptr() for view in bank.views()] == before


def test_a_bank_with_room_but_without_images_is_empty():
    bank = ReferenceBank(SHAPES, Codec.fp16, capacity=10)
    assert len(bank) == 0
    assert [view.shape[0] for view in bank.views()] == [0, 0]


def test_half_precision_takes_half_the_room():
    sizes = {codec: [index.codes.size() for index in filled(codec).indexes] for codec in CODECS}
    assert sizes[Codec.flat] == [2 * size for size in sizes[Codec.fp16]]
    assert sizes[Codec.fp16][0] == 4 * 6 * 5 * 8 * 2


def test_images_of_another_shape_are_refused():
    bank = ReferenceBank(SHAPES, Codec.flat)
    first, second = images(2)
    with pytest.raises(ValueError, match=r"\(6, 5, 8\) but was given \(5, 6, 8\)"):
        bank.add([first.transpose(2, 3), second])
    with pytest.raises(ValueError, match="zip"):
        bank.add([first])


@pytest.mark.parametrize("codec", CODECS)
def test_a_saved_bank_is_read_back_the_same(tmp_path: Path, codec: Codec):
    bank = filled(codec)
    bank.save(tmp_path / "bank")
    assert sorted(path.name for path in (tmp_path / "bank").iterdir()) == ["scale1.faiss", "scale2.faiss"]
    read = ReferenceBank.load(tmp_path / "bank", SHAPES, codec)
    assert len(read) == 4
    for view, original in zip(read.views(), bank.views(), strict=True):
        assert torch.equal(view, original)


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="the memory map is read from /proc, which is Linux's")
@pytest.mark.parametrize("codec", CODECS)
def test_a_bank_on_disk_is_mapped_and_not_copied(tmp_path: Path, codec: Codec):
    filled(codec).save(tmp_path)
    read = ReferenceBank.load(tmp_path, SHAPES, codec)
    for number, view in enumerate(read.views(), start=1):
        assert mapping_of(view.data_ptr()).endswith(f"scale{number}.faiss")
    copied = filled(codec).views()[0]
    assert not mapping_of(copied.data_ptr()).endswith(".faiss")


def test_saving_again_replaces_the_files(tmp_path: Path):
    filled(Codec.flat, 4).save(tmp_path)
    filled(Codec.flat, 2).save(tmp_path)
    assert len(ReferenceBank.load(tmp_path, SHAPES, Codec.flat)) == 2
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["scale1.faiss", "scale2.faiss"])
def test_a_missing_file_is_named(tmp_path: Path, name: str):
    filled(Codec.flat).save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(RunError, match=rf"{tmp_path}/{name} is missing"):
        ReferenceBank.load(tmp_path, SHAPES, Codec.flat)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("codec", CODECS)
def test_a_file_that_is_cut_short_is_named(tmp_path: Path, codec: Codec, share: float):
    filled(codec).save(tmp_path)
    path = tmp_path / "scale2.faiss"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(RunError, match=str(path)):
        ReferenceBank.load(tmp_path, SHAPES, codec)


def test_a_file_that_is_no_index_is_named(tmp_path: Path):
    filled(Codec.flat).save(tmp_path)
    (tmp_path / "scale1.faiss").write_bytes(b"not an index of any kind" * 50)
    with pytest.raises(RunError, match=rf"{tmp_path}/scale1\.faiss"):
        ReferenceBank.load(tmp_path, SHAPES, Codec.flat)


def test_vectors_of_another_size_are_refused(tmp_path: Path):
    filled(Codec.fp16).save(tmp_path)
    with pytest.raises(RunError, match=rf"{tmp_path}/scale2\.faiss holds 12 numbers.*says 16 as fp16"):
        ReferenceBank.load(tmp_path, [(6, 5, 8), (3, 4, 16)], Codec.fp16)


@pytest.mark.parametrize(("saved", "asked"), [(Codec.flat, Codec.fp16), (Codec.fp16, Codec.flat)])
def test_another_codec_is_refused(tmp_path: Path, saved: Codec, asked: Codec):
    filled(saved).save(tmp_path)
    with pytest.raises(RunError, match=rf"{tmp_path}/scale1\.faiss .*{asked.value}"):
        ReferenceBank.load(tmp_path, SHAPES, asked)


def test_another_scalar_quantizer_is_refused(tmp_path: Path):
    filled(Codec.fp16).save(tmp_path)
    index = faiss.IndexScalarQuantizer(8, faiss.ScalarQuantizer.QT_8bit_direct, faiss.METRIC_INNER_PRODUCT)
    index.add(np.zeros((4 * 6 * 5, 8), np.float32))
    faiss.write_index(index, str(tmp_path / "scale1.faiss"))
    with pytest.raises(RunError, match=rf"{tmp_path}/scale1\.faiss"):
        ReferenceBank.load(tmp_path, SHAPES, Codec.fp16)


def test_parts_of_images_are_refused(tmp_path: Path):
    filled(Codec.flat).save(tmp_path)
    with pytest.raises(RunError, match=rf"{tmp_path}/scale1\.faiss does not hold whole images of 7 × 5"):
        ReferenceBank.load(tmp_path, [(7, 5, 8), (3, 4, 12)], Codec.flat)


def test_scales_of_different_numbers_of_references_are_refused(tmp_path: Path):
    filled(Codec.flat, 4).save(tmp_path)
    filled(Codec.flat, 3).save(tmp_path / "other")
    (tmp_path / "other" / "scale2.faiss").replace(tmp_path / "scale2.faiss")
    with pytest.raises(RunError, match=r"different numbers of references: \[3, 4\]"):
        ReferenceBank.load(tmp_path, SHAPES, Codec.flat)
