"""The Triton kernel against the plain formulation: in Triton's interpreter, and on the GPU where there is one.

The interpreter is chosen by an environment variable when Triton is imported, so it runs in a process of its own.
What it cannot show, whether the kernel compiles, is tested by compiling it for a GPU that need not be there.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.choices import Codec
from cpr_lightning.retrieval.stored import Stored
from cpr_lightning.retrieval.window import WindowMatch
from cpr_lightning.retrieval.window_plain import match_window_plain

pytest.importorskip("triton")

Matcher = Callable[..., WindowMatch]
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
HALF = [torch.float16, torch.bfloat16]


def in_this_process(
    query: Tensor, references: Stored, neighbors: Tensor, window: int, places: bool = True
) -> WindowMatch:
    from cpr_lightning.retrieval.window_cuda import match_window_cuda

    return match_window_cuda(query, references, neighbors, window, places=places)


def on_gpu(references: Stored) -> Stored:
    parts = {name: part.cuda() for name, part in references._asdict().items() if isinstance(part, Tensor)}
    return references._replace(**parts)


def on_the_gpu(query: Tensor, references: Stored, neighbors: Tensor, window: int, places: bool = True) -> WindowMatch:
    match = in_this_process(query.cuda(), on_gpu(references), neighbors.cuda(), window, places)
    return WindowMatch(*(part.cpu() for part in match))


@pytest.fixture(scope="module")
def interpreter() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRITON_INTERPRET", "1")
            pool.submit(torch.set_num_threads, 1).result()  # starts the process
        yield pool


@pytest.fixture(params=["interpreter", "gpu"] if torch.cuda.is_available() else ["interpreter"])
def match(request: pytest.FixtureRequest) -> Matcher:
    if request.param == "gpu":
        return on_the_gpu
    pool: ProcessPoolExecutor = request.getfixturevalue("interpreter")
    return lambda *arguments: pool.submit(in_this_process, *arguments).result()


def unit(*shape: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def neighbors_of(batch: int, count: int, references: int, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(references, generator=generator)[:count] for _ in range(batch)])


def stored(vectors: Tensor, codec: Codec) -> Stored:
    """The vectors (N, H, W, D) in a codec; for pq, other vectors of length about 1 (it codes parts of two numbers)."""
    if codec is Codec.sq8:
        offset = vectors.amin((0, 1, 2))
        scale = (vectors.amax((0, 1, 2)) - offset) / 255
        return Stored(((vectors - offset) / scale).round().to(torch.uint8), codec, vectors.shape[3], scale, offset)
    if codec is Codec.pq:
        generator = torch.Generator().manual_seed(5)
        parts = vectors.shape[3] // 2
        codes = torch.randint(256, (*vectors.shape[:3], parts), generator=generator, dtype=torch.uint8)
        codebook = torch.randn(parts, 256, 2, generator=generator) / vectors.shape[3] ** 0.5
        return Stored(codes, codec, vectors.shape[3], codebook=codebook)
    return Stored.of(vectors.half() if codec is Codec.fp16 else vectors)


def similarity_at(match: WindowMatch, query: Tensor, references: Stored, neighbors: Tensor) -> Tensor:
    """Cosine similarity to the cells that a match names."""
    images = torch.arange(len(query)).view(-1, 1, 1)
    rows = torch.arange(len(references.codes))
    found = references.decode(rows)[neighbors[images, match.neighbor], match.row, match.column]
    return torch.linalg.vecdot(query.float(), found)


@pytest.mark.parametrize(
    ("batch", "height", "width", "dim", "count", "window"),
    [
        (1, 9, 11, 64, 3, 3),
        (2, 7, 17, 17, 2, 5),
        (2, 13, 5, 3, 1, 1),  # K = 1
        (1, 8, 16, 1, 4, 3),  # nothing but ties
        (1, 5, 9, 70, 2, 3),  # more numbers than a block
        (1, 17, 18, 16, 2, 7),  # a halo of two blocks
        (1, 3, 5, 4, 2, 51),  # a window larger than the image
        (1, 18, 2, 4, 2, 33),  # … in one direction
        (1, 1, 1, 5, 1, 3),
        (1, 2, 3, 6, 35, 3),  # more neighbors than are compared at once
    ],
)
def test_agrees_with_the_plain_formulation(
    match: Matcher, batch: int, height: int, width: int, dim: int, count: int, window: int
):
    query = unit(batch, height, width, dim, seed=1)
    references = Stored.of(unit(count + 2, height, width, dim, seed=2).half())
    neighbors = neighbors_of(batch, count, count + 2)
    found, expected = (one(query, references, neighbors, window) for one in (match, match_window_plain))
    torch.testing.assert_close(found.distance, expected.distance, rtol=1e-5, atol=2e-6)
    assert found.place.dtype == torch.int64
    assert torch.equal(found.place, expected.place)


def test_distances_are_the_same_bits_without_their_places(match: Matcher):
    query, references = unit(1, 9, 11, 12, seed=1), Stored.of(unit(4, 9, 11, 12, seed=2).half())
    full, alone = (match(query, references, neighbors_of(1, 2, 4), 3, places) for places in (True, False))
    assert torch.equal(alone.distance, full.distance)
    assert alone.place.numel() == 0


@pytest.mark.parametrize("window", [1, 3, 5])
def test_golden_distances(match: Matcher, golden: Callable[[str], dict[str, Tensor]], window: int):
    numbers = golden("window")
    query = numbers["query"].movedim(0, -1).unsqueeze(0)
    references = Stored.of(numbers["references"].movedim(1, -1).contiguous())
    found = match(query, references, torch.arange(len(references.codes)).unsqueeze(0), window)
    torch.testing.assert_close(found.distance[0], numbers[f"distance_window{window}"], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALF])
@pytest.mark.parametrize("codec", list(Codec))
def test_every_codec_and_type_of_query(match: Matcher, codec: Codec, dtype: torch.dtype):
    query = unit(1, 9, 10, 34, seed=6).to(dtype)
    references = stored(unit(4, 9, 10, 34, seed=7), codec)
    neighbors = neighbors_of(1, 2, 4)
    found, expected = (one(query, references, neighbors, 3) for one in (match, match_window_plain))
    rounded = dtype in HALF and codec is not Codec.fp16
    tolerance = 5e-4 if rounded else 2e-6  # half a unit in the last place of float16
    torch.testing.assert_close(found.distance, expected.distance, rtol=0, atol=tolerance)
    similarity = similarity_at(found, query, references, neighbors)
    torch.testing.assert_close((1 - similarity).clamp(min=0), found.distance, rtol=0, atol=tolerance)
    rows, columns = torch.meshgrid(torch.arange(9), torch.arange(10), indexing="ij")
    assert (found.row - rows).abs().max() == 1
    assert (found.column - columns).abs().max() == 1


EXACT = torch.tensor([1.0, -1.0, 1.0, 1.0]).repeat(4) / 4  # its products sum exactly, in any order: true ties


@pytest.mark.parametrize(("dtype", "window"), [(torch.float32, 5), (torch.float16, 7)])
def test_ties_go_to_the_nearer_neighbor_and_then_to_the_earlier_cell(match: Matcher, dtype: torch.dtype, window: int):
    vectors = EXACT.repeat(4, 14, 14, 1)
    vectors[3] = 0  # the nearest neighbor is worse than the others, which are equal
    query = EXACT.to(dtype).expand(1, 14, 14, 16)
    found = match(query, Stored.of(vectors), torch.tensor([[3, 2, 0, 1]]), window)
    assert found.neighbor.eq(1).all()
    earliest = (torch.arange(14) - window // 2).clamp(min=0)
    assert torch.equal(found.row[0], earliest.view(14, 1).expand(14, 14))
    assert torch.equal(found.column[0], earliest.expand(14, 14))


def test_the_nearest_of_very_many_equal_neighbors_is_taken(match: Matcher):
    vectors = EXACT.repeat(40, 1, 2, 1)
    vectors[:7] = 0
    assert match(EXACT.expand(1, 1, 2, 16), Stored.of(vectors), torch.arange(40).unsqueeze(0), 1).neighbor.eq(7).all()


def test_a_cell_is_found_at_its_shifted_place_and_not_outside_the_window(match: Matcher):
    vectors, query = unit(4, 19, 17, 16, seed=9), unit(2, 19, 17, 16, seed=10)
    query[1, 8, 7] = vectors[2, 7, 8]  # across the rims of two tiles
    query[1, 18, 16] = vectors[0, 17, 15]  # a corner
    query[1, 4, 4] = vectors[2, 4, 6]  # two columns off
    found = match(query, Stored.of(vectors), torch.tensor([[0, 1, 2], [3, 2, 0]]), 3)
    place = torch.stack([found.neighbor, found.row, found.column])
    assert place[:, 1, 8, 7].tolist() == [1, 7, 8]
    assert place[:, 1, 18, 16].tolist() == [2, 17, 15]
    assert found.distance[1, [8, 18], [7, 16]].max() < 1e-5
    assert found.distance[1, 4, 4] > 0.05
    assert match(query, Stored.of(vectors), torch.tensor([[0], [2]]), 5).distance[1, 4, 4] < 1e-5


@pytest.mark.parametrize("codec", list(Codec))
def test_strided_input_is_read_in_place(match: Matcher, codec: Codec):
    query, neighbors = unit(2, 6, 9, 8, seed=11), neighbors_of(2, 2, 4)
    references = stored(unit(4, 6, 9, 8, seed=12), codec)
    expected = match(query, references, neighbors, 3)
    channels_first = query.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    strided = torch.full((4, references.codes.shape[3], 7, 11), 77, dtype=references.codes.dtype).permute(0, 2, 3, 1)
    strided = strided[:, :6, 1:10]
    strided.copy_(references.codes)
    columns = neighbors.T.contiguous().T
    assert not any(given.is_contiguous() for given in (channels_first, strided, columns))
    for value, wanted in zip(
        match(channels_first, references._replace(codes=strided), columns, 3), expected, strict=True
    ):
        assert torch.equal(value, wanted)


@pytest.mark.parametrize("codec", list(Codec))
def test_nothing_is_written_to(match: Matcher, codec: Codec):
    query, references, neighbors = (
        unit(1, 5, 5, 4, seed=13),
        stored(unit(2, 5, 5, 4, seed=14), codec),
        neighbors_of(1, 2, 2),
    )
    given = [part for part in (query, neighbors, *references) if isinstance(part, Tensor)]
    before = [part.clone() for part in given]
    match(query, references, neighbors, 3)
    assert all(torch.equal(part, copy) for part, copy in zip(given, before, strict=True))


@pytest.mark.parametrize(
    ("codec", "dtype", "capability"),
    [
        *((codec, torch.float16, 90) for codec in Codec),
        (Codec.fp16, torch.float32, 90),
        (Codec.fp16, torch.float16, 80),
    ],
)
def test_it_compiles_and_uses_tensor_cores(
    codec: Codec, dtype: torch.dtype, capability: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """For a GPU that need not be there: the interpreter takes what the compiler refuses."""
    import triton
    from triton.backends.compiler import GPUTarget

    compiled: list[Any] = []
    run = triton.JITFunction.run

    def compile_only(kernel: Any, *arguments: Any, warmup: bool, **options: Any) -> None:
        assert not warmup
        compiled.append(run(kernel, *arguments, warmup=True, **options))

    driver = SimpleNamespace(
        get_current_device=lambda: -capability,
        get_current_stream=lambda device: device,
        get_current_target=lambda: GPUTarget("cuda", capability, 32),
    )
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(triton.JITFunction, "run", compile_only)
    monkeypatch.setattr(triton.runtime.driver, "_active", driver)
    query, references = unit(1, 16, 16, 96, seed=19).to(dtype), stored(unit(2, 16, 16, 96, seed=20), codec)
    in_this_process(query, references, neighbors_of(1, 2, 2), 3)
    tiles, best = compiled
    assert ("wgmma" if capability == 90 else "mma.sync") in tiles.asm["ptx"]
    assert "cp.async" in tiles.asm["ptx"]  # loads run ahead of the products
    assert max(tiles.metadata.shared, best.metadata.shared) <= 99 * 1024  # what the smaller GPUs have


@NEEDS_GPU
def test_a_bank_of_more_than_two_to_the_31_numbers():
    height, width, dim = 64, 64, 64
    count = 2**31 // (height * width * dim) + 2
    generator = torch.Generator("cuda").manual_seed(0)
    codes = torch.empty(count, height, width, dim, dtype=torch.uint8, device="cuda").random_(
        0, 256, generator=generator
    )
    scale, offset = torch.full((dim,), 1 / 1024, device="cuda"), torch.full((dim,), -0.125, device="cuda")
    references = Stored(codes, Codec.sq8, dim, scale, offset)
    query = unit(1, height, width, dim, seed=15).cuda()
    neighbors = torch.tensor([[count - 1, 0]], device="cuda")
    found, expected = (one(query, references, neighbors, 3) for one in (in_this_process, match_window_plain))
    torch.testing.assert_close(found.distance, expected.distance, rtol=1e-5, atol=2e-6)


@NEEDS_GPU
def test_a_cuda_graph_replays_it():
    query, references, neighbors = (
        unit(1, 40, 40, 64, seed=16).cuda().half(),
        unit(5, 40, 40, 64, seed=17),
        neighbors_of(1, 3, 5).cuda(),
    )
    on_device = on_gpu(Stored.of(references.half()))
    in_this_process(query, on_device, neighbors, 3)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = in_this_process(query, on_device, neighbors, 3)
    query.copy_(unit(1, 40, 40, 64, seed=18))
    neighbors.copy_(torch.tensor([[4, 1, 0]]))
    graph.replay()
    for value, expected in zip(found, in_this_process(query, on_device, neighbors, 3), strict=True):
        assert torch.equal(value, expected)
