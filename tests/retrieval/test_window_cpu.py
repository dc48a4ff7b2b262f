"""The compiled kernel against the plain formulation: every codec, odd sizes, borders, ties, layouts, threads."""

import mmap
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.choices import Codec
from cpr_lightning.retrieval.stored import Stored
from cpr_lightning.retrieval.window import WindowMatch
from cpr_lightning.retrieval.window_cpu import _parts, match_window_cpu
from cpr_lightning.retrieval.window_plain import match_window_plain


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def stored(vectors: Tensor, codec: Codec) -> Stored:
    """``vectors`` as ``codec`` holds them; pq: any codes and codebook, for they need not resemble anything here."""
    dim = vectors.shape[3]
    if codec is Codec.flat:
        return Stored.of(vectors)
    if codec is Codec.fp16:
        return Stored.of(vectors.half())
    draw = torch.Generator().manual_seed(dim)
    if codec is Codec.sq8:
        offset, scale = vectors.amin((0, 1, 2)), (vectors.amax((0, 1, 2)) - vectors.amin((0, 1, 2))) / 255
        codes = ((vectors - offset) / scale).round().to(torch.uint8)
        return Stored(codes, codec, dim, scale=scale, offset=offset)
    parts = next(count for count in (dim // 4, dim // 3, dim) if count and dim % count == 0)
    codes = torch.randint(0, 256, (*vectors.shape[:3], parts), dtype=torch.uint8, generator=draw)
    codebook = torch.randn(parts, 256, dim // parts, generator=draw) / dim**0.5
    return Stored(codes, codec, dim, codebook=codebook)


def assert_agree(found: WindowMatch, expected: WindowMatch) -> None:
    torch.testing.assert_close(found.distance, expected.distance, rtol=1e-5, atol=2e-6)
    for name in ("neighbor", "row", "column"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts the number of threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("dim", [3, 16, 17, 64, 384])
def test_agrees_with_the_plain_formulation(codec: Codec, dim: int):
    query, references = unit(2, 9, 11, dim, seed=1), stored(unit(6, 9, 11, dim, seed=2), codec)
    neighbors = torch.tensor([[5, 0, 3], [1, 3, 2]])
    for window in (1, 3, 5):
        assert_agree(
            match_window_cpu(query, references, neighbors, window),
            match_window_plain(query, references, neighbors, window),
        )


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 6), (6, 1), (2, 3), (13, 7), (5, 40)])
def test_agrees_at_any_size_of_image_and_window(codec: Codec, height: int, width: int):
    query, references = unit(1, height, width, 20, seed=3), stored(unit(4, height, width, 20, seed=4), codec)
    neighbors = torch.tensor([[2, 3]])
    for window in (1, 3, 5, 7, 9, 51):
        assert_agree(
            match_window_cpu(query, references, neighbors, window),
            match_window_plain(query, references, neighbors, window),
        )


@pytest.mark.parametrize("codec", [Codec.flat, Codec.fp16])
def test_vectors_of_one_number(codec: Codec):
    # Every cosine is 1 or −1, so all but the first of those that are equal must lose.
    query, references = unit(2, 7, 9, 1, seed=5), stored(unit(4, 7, 9, 1, seed=6), codec)
    neighbors = torch.tensor([[3, 0, 1], [2, 1, 0]])
    for window in (1, 3, 5):
        match = match_window_cpu(query, references, neighbors, window)
        assert_agree(match, match_window_plain(query, references, neighbors, window))
        assert match.distance.unique().tolist() in ([0.0], [0.0, 2.0])


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("dim", [17, 64])
@pytest.mark.parametrize("window", [1, 3, 5])
def test_equal_cells_tie_exactly(codec: Codec, dim: int, window: int):
    # One vector everywhere: the nearest neighbor and the first cell of the window win, at the borders too.
    query = unit(1, 1, 1, dim, seed=7).expand(1, 9, 10, dim)
    references = stored(unit(1, 4, 1, dim, seed=8).repeat(3, 4, 10, 1)[:, :9], codec)
    codes = references.codes[:1, :1, :1].expand_as(references.codes)
    match = match_window_cpu(query, references._replace(codes=codes), torch.tensor([[2, 0, 1]]), window)
    assert match.neighbor.eq(0).all()
    assert torch.equal(match.row[0], (torch.arange(9).view(9, 1) - window // 2).clamp(min=0).expand(9, 10))
    assert torch.equal(match.column[0], (torch.arange(10) - window // 2).clamp(min=0).expand(9, 10))


def test_of_two_equal_neighbors_the_nearer_wins_whatever_its_row():
    references, query = unit(2, 6, 6, 16, seed=9), unit(1, 6, 6, 16, seed=10)
    references[1, 2, 3] = query[0, 3, 3]  # the farther one holds it a row earlier
    references[0, 4, 4] = query[0, 3, 3]
    match = match_window_cpu(query, Stored.of(references), torch.tensor([[0, 1]]), 3)
    assert [int(part[0, 3, 3]) for part in (match.neighbor, match.row, match.column)] == [0, 4, 4]
    match = match_window_cpu(query, Stored.of(references), torch.tensor([[1, 0]]), 3)
    assert [int(part[0, 3, 3]) for part in (match.neighbor, match.row, match.column)] == [0, 2, 3]


def test_a_single_neighbor_named_twice_is_found_once():
    query, references = unit(1, 5, 6, 8, seed=11), Stored.of(unit(2, 5, 6, 8, seed=12))
    once, twice = (match_window_cpu(query, references, torch.tensor([rows]), 3) for rows in ([1], [1, 1]))
    assert all(torch.equal(one, other) for one, other in zip(once, twice, strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_query_of_another_type_counts_as_float32(dtype: torch.dtype):
    query, references = unit(1, 6, 7, 24, seed=13).to(dtype), Stored.of(unit(3, 6, 7, 24, seed=14))
    neighbors = torch.tensor([[0, 2]])
    found = match_window_cpu(query, references, neighbors, 3)
    expected = match_window_cpu(query.float(), references, neighbors, 3)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert [part.dtype for part in found] == [torch.float32, torch.int64]


@pytest.mark.parametrize("codec", Codec)
def test_a_query_of_any_layout_gives_the_same_bits(codec: Codec):
    query, references = unit(2, 6, 7, 24, seed=15), stored(unit(3, 6, 7, 24, seed=16), codec)
    neighbors = torch.tensor([[0, 2], [1, 0]])
    channels_first = query.movedim(3, 1).contiguous().movedim(1, 3)
    every_other = torch.zeros(2, 12, 7, 48)[:, ::2, :, ::2].copy_(query)
    expected = match_window_cpu(query, references, neighbors, 3)
    for strange in (channels_first, every_other, query.clone().requires_grad_()):
        found = match_window_cpu(strange, references, neighbors, 3)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("codec", Codec)
def test_references_of_any_layout_give_the_same_bits(codec: Codec):
    query, references = unit(1, 6, 7, 24, seed=17), stored(unit(3, 6, 7, 24, seed=18), codec)
    neighbors = torch.tensor([[2, 0]])
    expected = match_window_cpu(query, references, neighbors, 3)
    spread = torch.zeros(9, *references.codes.shape[1:], dtype=references.codes.dtype)[::3].copy_(references.codes)
    turned = references.codes.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    for codes in (spread, turned):
        assert not codes.is_contiguous()
        found = match_window_cpu(query, references._replace(codes=codes), neighbors, 3)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("dim", [17, 48])
def test_a_read_only_file_is_read_to_its_last_byte(codec: Codec, dim: int, tmp_path: Path):
    query, references = unit(1, 6, 7, dim, seed=19), stored(unit(3, 6, 7, dim, seed=20), codec)
    numbers = references.codes.numpy()
    # The codes end with a page of memory: a vector read beyond them would be a segmentation fault.
    path = tmp_path / "codes"
    path.write_bytes(bytes(-numbers.nbytes % mmap.PAGESIZE) + numbers.tobytes())
    mapped = np.memmap(path, dtype=numbers.dtype, mode="r", offset=-numbers.nbytes % mmap.PAGESIZE, shape=numbers.shape)
    assert not mapped.flags.writeable
    with warnings.catch_warnings(action="ignore"):  # torch: "the array is not writable", that is the point
        codes = torch.from_numpy(mapped)
    neighbors = torch.tensor([[2, 0]])
    found = match_window_cpu(query, references._replace(codes=codes), neighbors, 3)
    assert_agree(found, match_window_plain(query, references, neighbors, 3))


@pytest.mark.parametrize("codec", Codec)
def test_distances_are_the_same_bits_without_their_places(codec: Codec):
    query, references = unit(2, 9, 11, 12, seed=1), stored(unit(4, 9, 11, 12, seed=2), codec)
    neighbors = torch.tensor([[0, 3], [2, 1]])
    for window in (1, 3, 5):
        full = match_window_cpu(query, references, neighbors, window)
        alone = match_window_cpu(query, references, neighbors, window, places=False)
        assert torch.equal(alone.distance, full.distance)
        assert alone.place.numel() == 0


@pytest.mark.parametrize("codec", Codec)
def test_nothing_is_written_to(codec: Codec):
    query, references, neighbors = (
        unit(1, 5, 6, 8, seed=21),
        stored(unit(3, 5, 6, 8, seed=22), codec),
        torch.tensor([[2]]),
    )
    tensors = [query, neighbors, *(part for part in references if isinstance(part, Tensor))]
    before = [part.clone() for part in tensors]
    match_window_cpu(query, references, neighbors, 3)
    assert all(torch.equal(one, other) for one, other in zip(before, tensors, strict=True))


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("window", [1, 3, 5])
def test_the_number_of_threads_changes_no_bit(codec: Codec, window: int):
    query, references = unit(3, 9, 13, 40, seed=23), stored(unit(4, 9, 13, 40, seed=24), codec)
    neighbors = torch.tensor([[0, 2], [1, 0], [3, 1]])
    torch.set_num_threads(1)
    expected = match_window_cpu(query, references, neighbors, window)
    inside = numba.get_num_threads()
    for threads in (2, 64):  # 64: more than there are
        torch.set_num_threads(threads)
        found = match_window_cpu(query, references, neighbors, window)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
        assert numba.get_num_threads() == inside, "numba's own number is not ours to change"


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 6, 7, 16, 60])
@pytest.mark.parametrize(("height", "width"), [(80, 80), (1, 5), (5, 1), (3, 100)])
def test_the_parts_cover_every_cell_once(threads: int, height: int, width: int):
    count = torch.zeros(2, height, width)
    parts = _parts(2, height, width, 1, threads)
    for image, top, bottom, left, right in parts.tolist():
        count[image, top:bottom, left:right] += 1
    assert count.eq(1).all()
    assert len(parts) <= 2 * threads


def test_an_image_is_split_where_it_costs_least():
    assert _parts(1, 80, 80, 1, 2).tolist() == [[0, 0, 80, 0, 40], [0, 0, 80, 40, 80]]
    assert _parts(1, 400, 2, 1, 4)[:, 1:3].tolist() == [[0, 100], [100, 200], [200, 300], [300, 400]]


@pytest.mark.parametrize("row", [-1, 3])
def test_a_neighbor_that_is_not_there_is_refused(row: int):
    references = Stored.of(unit(3, 5, 5, 4))
    with pytest.raises(IndexError, match=f"There are 3 references, but the neighbors are .*{row}"):
        match_window_cpu(unit(1, 5, 5, 4), references, torch.tensor([[0, row]]), 3)


def test_no_query_at_all_has_no_match():
    match = match_window_cpu(unit(0, 5, 5, 4), Stored.of(unit(3, 5, 5, 4)), torch.zeros(0, 2, dtype=torch.int64), 3)
    assert [tuple(part.shape) for part in match] == [(0, 5, 5)] * 2


@pytest.mark.slow
def test_it_runs_on_a_machine_without_half_precision_and_openmp(tmp_path: Path):
    weaker = {"NUMBA_CPU_NAME": "generic", "NUMBA_THREADING_LAYER": "workqueue", "NUMBA_CACHE_DIR": str(tmp_path)}
    chosen = "number_of_threads or (agrees_with and 17) or equal_cells"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, __file__]
    run = subprocess.run(command, env=os.environ | weaker, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert any(tmp_path.rglob("*.nbc")), "the compiled kernel is kept"
