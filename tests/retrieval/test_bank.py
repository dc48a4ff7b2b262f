"""The bank gives back what was put in, without a copy, and refuses files that are not its own."""

import gc
import weakref
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.choices import Codec
from cpr_lightning.errors import RunError, SettingsError
from cpr_lightning.retrieval.bank import ReferenceBank

SHAPES = [(6, 5, 8), (3, 4, 12)]
CODECS = list(Codec)
EXACT = [Codec.flat, Codec.fp16]
LEARNING = [Codec.sq8, Codec.pq]
WRONG = [(saved, asked) for saved in Codec for asked in Codec if saved is not asked]
LINUX = pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="/proc and madvise are Linux's")


def images(count: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [F.normalize(torch.randn(count, d, h, w, generator=generator), dim=1) for h, w, d in SHAPES]


def rows_of(added: list[Tensor]) -> list[Tensor]:
    return [scale.permute(0, 2, 3, 1) for scale in added]


def empty(codec: Codec, capacity: int = 0) -> ReferenceBank:
    """A bank that is ready for `add`."""
    bank = ReferenceBank(SHAPES, codec, capacity)
    if bank.needs_training:
        bank.train(images(30, seed=99))
    return bank


def filled(codec: Codec, count: int = 4) -> ReferenceBank:
    bank = empty(codec, capacity=count)
    bank.add(images(count))
    return bank


def decoded(bank: ReferenceBank) -> list[Tensor]:
    return [scale.decode(torch.arange(len(bank))) for scale in bank.stored()]


def resident_kb(path: Path) -> int:
    """Kilobytes of a file's mapping that are in this process's memory."""
    for text in Path("/proc/self/smaps").read_text().split(str(path))[1:]:
        return int(text.split("Rss:")[1].split()[0])
    raise AssertionError(f"{path} is not mapped")


def mapping_of(address: int) -> str:
    """The line of /proc/self/maps that the address lies in."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(end, 16) for end in line.split()[0].split("-"))
        if first <= address < last:
            return line
    return ""


@pytest.mark.parametrize("codec", EXACT)
def test_what_is_stored_is_what_was_added(codec: Codec):
    bank = ReferenceBank(SHAPES, codec)
    bank.add(images(3, seed=1))
    bank.add(images(2, seed=2))
    assert len(bank) == 5
    both = zip(rows_of(images(3, 1)), rows_of(images(2, 2)), strict=True)
    for scale, parts, (height, width, dim) in zip(bank.stored(), both, SHAPES, strict=True):
        added = torch.cat(parts)
        assert (scale.codes.shape, scale.dim, scale.codec) == ((5, height, width, dim), dim, codec)
        if codec is Codec.flat:
            assert scale.codes.dtype == torch.float32
            assert torch.equal(scale.codes, added)
        else:
            assert scale.codes.dtype == torch.float16
            torch.testing.assert_close(scale.codes.float(), added, rtol=2**-11, atol=2**-24)


@pytest.mark.parametrize("codec", CODECS)
def test_it_is_decoded_as_faiss_decodes_it(codec: Codec):
    bank = filled(codec, 7)
    for index, ours in zip(bank.indexes, decoded(bank), strict=True):
        theirs = index.reconstruct_n(0, index.ntotal).reshape(ours.shape)
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-6)


def test_eight_bits_are_off_by_half_a_step_at_most():
    bank = empty(Codec.sq8)
    bank.add([scale[3:9] for scale in images(30, seed=99)])  # some of those that it has learned from
    for scale, ours, added in zip(bank.stored(), decoded(bank), rows_of(images(30, seed=99)), strict=True):
        assert scale.codes.dtype == torch.uint8
        assert scale.scale is not None
        assert ((ours - added[3:9]).abs() <= scale.scale / 2 + 1e-6).all()
        spread = added.flatten(0, 2).amax(0) - added.flatten(0, 2).amin(0)
        assert (scale.scale < 1.25 * spread / 255).all()


def test_values_beyond_the_range_that_was_learned_are_clipped_to_a_tenth_beyond_it():
    bank = ReferenceBank([(1, 2, 1)], Codec.sq8)
    bank.train([torch.tensor([[[[0.0, 1.0]]]])])
    bank.add([torch.tensor([[[[-5.0, 5.0]]], [[[-0.09, 1.09]]]])])
    assert decoded(bank)[0].flatten().tolist() == pytest.approx([-0.1, 1.1, -0.09, 1.09], abs=1.2 / 255)


def test_product_codes_are_the_nearest_of_their_codebook():
    bank = filled(Codec.pq)
    for scale, added, (height, width, dim) in zip(bank.stored(), rows_of(images(4)), SHAPES, strict=True):
        assert scale.codebook is not None
        assert scale.codes.shape == (4, height, width, dim // 4)
        assert scale.codebook.shape == (dim // 4, 256, 4)
        for part in range(dim // 4):
            distances = torch.cdist(added[..., 4 * part : 4 * part + 4].reshape(-1, 4), scale.codebook[part])
            chosen = distances.gather(1, scale.codes[..., part].reshape(-1, 1).long())
            torch.testing.assert_close(chosen[:, 0], distances.amin(1), rtol=0, atol=1e-4)


def test_coarser_codecs_take_less_room_and_lose_more():
    sizes, errors = [], []
    for codec in CODECS:
        bank = filled(codec)
        sizes.append([scale.codes.nbytes for scale in bank.stored()])
        pairs = zip(decoded(bank), rows_of(images(4)), strict=True)
        errors.append(max(float((ours - added).abs().mean()) for ours, added in pairs))
    assert sizes[0] == [4 * 6 * 5 * 8 * 4, 4 * 3 * 4 * 12 * 4]
    assert sizes[1:] == [[size // share for size in sizes[0]] for share in (2, 4, 16)]
    assert errors == sorted(errors)
    assert errors[2] < 0.004 < errors[3] < 0.15


@pytest.mark.parametrize("codec", CODECS)
def test_it_is_the_storage_of_faiss_itself(codec: Codec):
    bank = filled(codec)
    codes = bank.stored()[0].codes
    assert codes.data_ptr() == int(bank.indexes[0].codes.data())
    before = bank.indexes[0].reconstruct((2 * 6 + 1) * 5 + 3)
    codes[2, 1, 3, 1] = 0.5 if codec in EXACT else 255 - codes[2, 1, 3, 1]  # only to show it
    assert not np.array_equal(bank.indexes[0].reconstruct((2 * 6 + 1) * 5 + 3), before)


@pytest.mark.parametrize("mapped", [False, True])
def test_what_is_stored_outlives_the_bank(mapped: bool, tmp_path: Path):
    bank = filled(Codec.fp16)
    bank.save(tmp_path)
    if mapped:
        bank = ReferenceBank.load(tmp_path, SHAPES, Codec.fp16)
    codes = bank.stored()[0].codes
    expected = codes.clone()
    index = weakref.ref(bank.indexes[0])
    del bank
    gc.collect()
    assert index() is not None, "its memory would be another's by now"
    assert torch.equal(codes, expected)
    del codes
    gc.collect()
    assert index() is None


def test_it_is_made_once_until_the_bank_changes():
    bank = filled(Codec.sq8)
    assert bank.stored() is bank.stored()
    bank.add(images(1))
    assert [len(scale.codes) for scale in bank.stored()] == [5, 5]


@pytest.mark.parametrize("codec", EXACT)
def test_faiss_finds_each_added_vector_at_its_row(codec: Codec):
    bank = filled(codec)
    vectors = images(4)[1].permute(0, 2, 3, 1).reshape(-1, 12).numpy()
    _, found = bank.indexes[1].search(np.ascontiguousarray(vectors), 1)
    assert np.array_equal(found[:, 0], np.arange(len(vectors)))


@pytest.mark.parametrize("codec", CODECS)
def test_storage_does_not_move_while_there_is_room(codec: Codec):
    bank = empty(codec, capacity=6)
    bank.add(images(1))
    before = [scale.codes.data_ptr() for scale in bank.stored()]
    for number in range(5):
        bank.add(images(1, seed=number))
    assert [scale.codes.data_ptr() for scale in bank.stored()] == before


@pytest.mark.parametrize("codec", CODECS)
def test_a_bank_with_room_but_without_images_is_empty(codec: Codec):
    bank = ReferenceBank(SHAPES, codec, capacity=10)
    assert len(bank) == 0
    assert [scale.codes.shape[0] for scale in bank.stored()] == [0, 0]


@pytest.mark.parametrize("codec", CODECS)
def test_codecs_that_learn_must_learn_once(codec: Codec):
    bank = ReferenceBank(SHAPES, codec)
    assert bank.needs_training == (codec in LEARNING)
    if codec in LEARNING:
        with pytest.raises(ValueError, match=f"{codec.value} must be trained"):
            bank.add(images(1))
        bank.train(images(30))
        assert not bank.needs_training
    with pytest.raises(ValueError, match="nothing"):
        bank.train(images(30))


@pytest.mark.parametrize("codec", LEARNING)
def test_the_same_references_teach_the_same_and_in_silence(codec: Codec, capfd: pytest.CaptureFixture[str]):
    many = images(400)  # more vectors than pq takes
    banks = [ReferenceBank(SHAPES, codec) for _ in range(2)]
    for bank in banks:
        bank.train(many)
        bank.add(images(2))
    for one, other in zip(*(bank.stored() for bank in banks), strict=True):
        assert torch.equal(one.codes, other.codes)
        for table, twin in zip(one[3:], other[3:], strict=True):
            assert table is twin is None or torch.equal(table, twin)
    ReferenceBank(SHAPES, codec).train(images(30))  # few of them
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("codec", "count", "cells", "least"), [(Codec.pq, 8, 240, 256), (Codec.sq8, 0, 0, 1)])
def test_too_few_references_to_learn_from_are_refused(codec: Codec, count: int, cells: int, least: int):
    with pytest.raises(SettingsError, match=rf"bank\.codec={codec.value} .*at least {least} .* have {cells}\."):
        ReferenceBank(SHAPES, codec).train(images(count))


def test_vectors_that_a_codec_cannot_store_are_refused():
    with pytest.raises(SettingsError, match=r"bank\.codec=pq .*multiple of 4 .*not 10.*branch\.dim"):
        ReferenceBank([(6, 5, 8), (3, 4, 10)], Codec.pq)


def test_an_unknown_codec_is_refused():
    with pytest.raises(SettingsError, match=r"bank\.codec=zip is unknown; choose one of flat, fp16, sq8, pq"):
        ReferenceBank(SHAPES, "zip")  # pyright: ignore[reportArgumentType]


def test_images_of_another_shape_are_refused():
    bank = ReferenceBank(SHAPES, Codec.flat)
    first, second = images(2)
    with pytest.raises(ValueError, match=r"\(6, 5, 8\) but was given \(5, 6, 8\)"):
        bank.add([first.transpose(2, 3), second])
    with pytest.raises(ValueError, match=r"\(3, 4, 12\) but was given \(4, 3, 12\)"):
        bank.add([first, second.transpose(2, 3)])
    with pytest.raises(ValueError, match="zip"):
        bank.add([first])
    with pytest.raises(ValueError, match="2 and of 1 images"):
        bank.add([first, second[:1]])
    assert [index.ntotal for index in bank.indexes] == [0, 0]


@pytest.mark.parametrize("codec", CODECS)
def test_a_saved_bank_is_read_back_the_same(tmp_path: Path, codec: Codec):
    bank = filled(codec)
    bank.save(tmp_path / "bank")
    assert sorted(path.name for path in (tmp_path / "bank").iterdir()) == ["scale1.faiss", "scale2.faiss"]
    read = ReferenceBank.load(tmp_path / "bank", SHAPES, codec)
    assert len(read) == 4
    for scale, original in zip(read.stored(), bank.stored(), strict=True):
        assert torch.equal(scale.codes, original.codes)
    for ours, original in zip(decoded(read), decoded(bank), strict=True):
        assert torch.equal(ours, original)
    read.save(tmp_path / "copy")  # also one that is mapped
    assert (tmp_path / "copy" / "scale1.faiss").read_bytes() == (tmp_path / "bank" / "scale1.faiss").read_bytes()


@LINUX
@pytest.mark.parametrize("codec", CODECS)
def test_a_bank_on_disk_is_mapped_and_not_copied(tmp_path: Path, codec: Codec):
    filled(codec).save(tmp_path)
    read = ReferenceBank.load(tmp_path, SHAPES, codec)
    for number, scale in enumerate(read.stored(), start=1):
        assert mapping_of(scale.codes.data_ptr()).endswith(f"scale{number}.faiss")
    for bank in (filled(codec), ReferenceBank.load(tmp_path, SHAPES, codec, writable=True)):
        assert not mapping_of(bank.stored()[0].codes.data_ptr()).endswith(".faiss")


@pytest.mark.parametrize("codec", CODECS)
def test_a_bank_on_disk_grows_without_a_change_to_what_is_there(tmp_path: Path, codec: Codec):
    filled(codec, 3).save(tmp_path)
    mapped = ReferenceBank.load(tmp_path, SHAPES, codec)
    before = [scale.codes.clone() for scale in mapped.stored()]
    bank = ReferenceBank.load(tmp_path, SHAPES, codec, writable=True)
    assert not bank.needs_training
    bank.add(images(2, seed=5))
    bank.save(tmp_path)
    # Who has the old file mapped still sees the old file.
    assert all(torch.equal(scale.codes, old) for scale, old in zip(mapped.stored(), before, strict=True))
    grown = ReferenceBank.load(tmp_path, SHAPES, codec)
    at_once = empty(codec)
    for added in (images(3), images(2, seed=5)):
        at_once.add(added)
    assert len(grown) == 5
    for scale, old, whole in zip(grown.stored(), before, at_once.stored(), strict=True):
        assert torch.equal(scale.codes[:3], old)
        assert torch.equal(scale.codes, whole.codes)


def test_a_mapped_bank_cannot_grow_and_says_so(tmp_path: Path):
    filled(Codec.flat).save(tmp_path)
    with pytest.raises(ValueError, match="writable=True"):  # FAISS would end the process
        ReferenceBank.load(tmp_path, SHAPES, Codec.flat).add(images(1))


def test_a_save_that_fails_halfway_leaves_all_files_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    filled(Codec.flat, 4).save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write = faiss.write_index

    def full_disk(index: faiss.Index, path: str) -> None:
        write(index, path)
        if "scale2" in path:
            raise RuntimeError("no space left")

    monkeypatch.setattr(faiss, "write_index", full_disk)
    with pytest.raises(OSError, match=r"scale2\.faiss could not be written"):
        filled(Codec.flat, 2).save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@LINUX
@pytest.mark.parametrize("rows", [list(range(40)), torch.arange(40).reshape(4, 10)])
def test_memory_of_a_mapped_bank_is_let_go_when_too_much_was_touched(tmp_path: Path, rows: list[int] | Tensor):
    shapes = [(64, 64, 64)]  # half a megabyte a reference
    bank = ReferenceBank(shapes, Codec.fp16)
    bank.add([torch.arange(40.0).reshape(40, 1, 1, 1).expand(40, 64, 64, 64)])
    bank.save(tmp_path)
    path = tmp_path / "scale1.faiss"
    held = []
    for limit in (1 << 30, 12 << 20):
        read = ReferenceBank.load(tmp_path, shapes, Codec.fp16, resident_bytes=limit)
        codes = read.stored()[0].codes
        most = 0
        for start in range(0, 40, 4):
            read.touch(rows[start : start + 4] if isinstance(rows, list) else rows.flatten()[start : start + 4])
            assert codes[start : start + 4].float().mean().item() == start + 1.5
            most = max(most, resident_kb(path))
        held.append(most)
        assert torch.equal(codes[:, 5, 5, 5].float(), torch.arange(40.0))  # what was let go is read again
        del read, codes
    assert held[0] >= 20 * 1024
    assert held[1] < 0.75 * held[0]


@pytest.mark.parametrize("writable", [None, True])
def test_memory_that_is_no_files_is_never_let_go(tmp_path: Path, writable: bool | None):
    shapes = [(64, 64, 8)]
    bank = ReferenceBank(shapes, Codec.flat)
    bank.add([torch.ones(300, 8, 64, 64)])
    if writable:
        bank.save(tmp_path)
        bank = ReferenceBank.load(tmp_path, shapes, Codec.flat, writable=True, resident_bytes=0)
    for row in range(300):
        bank.touch([row])
    assert bank.stored()[0].codes.eq(1).all()


@pytest.mark.parametrize("codec", CODECS)
def test_a_bank_is_placed_whole_and_in_its_own_type(codec: Codec):
    bank = filled(codec)
    here = bank.stored()
    bank.place("meta")
    for there, original in zip(bank.stored(), here, strict=True):
        assert (there.codec, there.dim, there.grid) == (codec, original.dim, original.grid)
        for part, twin in zip(there, original, strict=True):
            assert (part is None) == (twin is None)
            if isinstance(part, Tensor) and isinstance(twin, Tensor):
                assert (part.device.type, part.dtype, part.shape) == ("meta", twin.dtype, twin.shape)
    bank.add(images(1))
    assert [(scale.codes.device.type, len(scale.codes)) for scale in bank.stored()] == [("meta", 5)] * 2
    bank.place("cpu")
    assert bank.stored()[0].codes.data_ptr() == int(bank.indexes[0].codes.data())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("codec", CODECS)
def test_a_bank_on_the_gpu_decodes_the_same(tmp_path: Path, codec: Codec):
    filled(codec).save(tmp_path)
    bank = ReferenceBank.load(tmp_path, SHAPES, codec)
    expected = decoded(bank)
    bank.place("cuda")
    bank.touch(torch.tensor([[0, 1]], device="cuda"))
    for scale, original in zip(bank.stored(), expected, strict=True):
        torch.testing.assert_close(scale.decode(torch.arange(4, device="cuda")).cpu(), original, rtol=0, atol=1e-6)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_a_sentence():
    with pytest.raises(SettingsError, match=r"bank\.device=cuda: .*bank\.device=cpu"):
        filled(Codec.fp16).place("cuda")


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
    for writable in (False, True):
        with pytest.raises(RunError, match=str(path)):
            ReferenceBank.load(tmp_path, SHAPES, codec, writable=writable)


@pytest.mark.parametrize("codec", CODECS)
def test_a_file_may_be_cut_short_anywhere_in_its_head_or_at_its_end(tmp_path: Path, codec: Codec):
    filled(codec).save(tmp_path)
    path = tmp_path / "scale1.faiss"
    content = path.read_bytes()
    for size in (*range(120), *range(len(content) - 20, len(content))):
        path.unlink()
        path.write_bytes(content[:size])
        with pytest.raises(RunError, match=str(path)):
            ReferenceBank.load(tmp_path, SHAPES, codec)


@pytest.mark.parametrize("codec", CODECS)
def test_a_bank_without_images_is_read_back(tmp_path: Path, codec: Codec):
    empty(codec).save(tmp_path)
    assert len(ReferenceBank.load(tmp_path, SHAPES, codec)) == 0


def test_a_file_that_is_no_index_is_named(tmp_path: Path):
    filled(Codec.flat).save(tmp_path)
    (tmp_path / "scale1.faiss").write_bytes(b"not an index of any kind" * 50)
    with pytest.raises(RunError, match=rf"{tmp_path}/scale1\.faiss"):
        ReferenceBank.load(tmp_path, SHAPES, Codec.flat)


def test_vectors_of_another_size_are_refused(tmp_path: Path):
    filled(Codec.fp16).save(tmp_path)
    with pytest.raises(RunError, match=rf"{tmp_path}/scale2\.faiss holds 12 numbers.*says 16 as fp16"):
        ReferenceBank.load(tmp_path, [(6, 5, 8), (3, 4, 16)], Codec.fp16)


@pytest.mark.parametrize(("saved", "asked"), WRONG)
def test_another_codec_is_refused(tmp_path: Path, saved: Codec, asked: Codec):
    filled(saved).save(tmp_path)
    with pytest.raises(
        RunError, match=rf"{tmp_path}/scale1\.faiss holds 8 numbers .*{saved.value}.* 8 as {asked.value}"
    ):
        ReferenceBank.load(tmp_path, SHAPES, asked)


@pytest.mark.parametrize(
    ("codec", "index"),
    [
        (Codec.fp16, faiss.IndexScalarQuantizer(8, faiss.ScalarQuantizer.QT_bf16, faiss.METRIC_INNER_PRODUCT)),
        (Codec.sq8, faiss.IndexScalarQuantizer(8, faiss.ScalarQuantizer.QT_8bit_direct, faiss.METRIC_INNER_PRODUCT)),
        (Codec.sq8, faiss.IndexScalarQuantizer(8, faiss.ScalarQuantizer.QT_8bit_uniform, faiss.METRIC_INNER_PRODUCT)),
        (Codec.pq, faiss.IndexPQ(8, 4, 4, faiss.METRIC_INNER_PRODUCT)),  # 2 bytes a vector too
        (Codec.flat, faiss.IndexFlatL2(8)),
        (Codec.flat, faiss.IndexHNSWFlat(8, 4)),
    ],
    ids=lambda value: value.value if isinstance(value, Codec) else type(value).__name__,
)
def test_a_relative_of_the_codec_is_refused(tmp_path: Path, codec: Codec, index: faiss.Index):
    filled(codec).save(tmp_path)
    vectors = np.random.default_rng(0).random((4 * 6 * 5, 8), np.float32)
    if not index.is_trained:
        index.train(vectors)
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "scale1.faiss"))
    with pytest.raises(RunError, match=rf"{tmp_path}/scale1\.faiss holds 8 numbers .*as {type(index).__name__}"):
        ReferenceBank.load(tmp_path, SHAPES, codec)


@pytest.mark.parametrize("codec", LEARNING)
def test_an_index_that_has_not_learned_is_refused(tmp_path: Path, codec: Codec):
    ReferenceBank(SHAPES, codec).save(tmp_path)
    with pytest.raises(RunError, match=rf"{tmp_path}/scale1\.faiss"):
        ReferenceBank.load(tmp_path, SHAPES, codec)


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
