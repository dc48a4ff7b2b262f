"""The windowed nearest neighbor against the golden numbers and a plain unfold formulation."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.retrieval.stored import Stored
from cpr_lightning.retrieval.window import WindowMatch, match_window


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def match_one(query: Tensor, references: Tensor, neighbors: Tensor, window: int) -> WindowMatch:
    """One query (H, W, D) with the references (N, H, W, D) as they are."""
    match = match_window(query[None], Stored.of(references), neighbors[None], window)
    return WindowMatch(*(part.squeeze(0) for part in match))


def plain(query: Tensor, references: Tensor, window: int) -> Tensor:
    """(K, window², H, W) cosine distances with everything laid out; inf outside the image. (H, W, D) as in the code."""
    height, width, dim = query.shape
    reach = window // 2

    def unfold(maps: Tensor) -> Tensor:  # (K, C, H, W) → (K, C, window², H, W)
        return F.unfold(maps, window, padding=reach).view(len(maps), maps.shape[1], window**2, height, width)

    cells = unfold(references.float().permute(0, 3, 1, 2))
    inside = unfold(torch.ones(len(references), 1, height, width)).squeeze(1) > 0
    similarity = torch.einsum("hwd,kdnhw->knhw", query, cells)
    assert cells.shape[1] == dim
    return (1 - similarity).masked_fill(~inside, torch.inf)


@pytest.mark.parametrize("window", [1, 3, 5])
def test_golden_distances(golden: Callable[[str], dict[str, Tensor]], window: int):
    numbers = golden("window")
    references = numbers["references"].permute(0, 2, 3, 1)
    match = match_one(numbers["query"].permute(1, 2, 0), references, torch.arange(len(references)), window)
    torch.testing.assert_close(match.distance, numbers[f"distance_window{window}"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("height", "width", "dim", "count", "window"),
    [(7, 13, 5, 3, 3), (12, 9, 8, 4, 5), (1, 6, 3, 2, 3), (6, 1, 3, 2, 5), (9, 9, 4, 1, 1), (11, 5, 6, 2, 7)],
)
def test_agrees_with_a_plain_unfold(height: int, width: int, dim: int, count: int, window: int):
    query = unit(height, width, dim, seed=1)
    references = unit(count + 3, height, width, dim, seed=2)
    neighbors = torch.randperm(count + 3, generator=torch.Generator().manual_seed(3))[:count]
    match = match_one(query, references, neighbors, window)
    expected = plain(query, references[neighbors], window).amin(dim=(0, 1))
    torch.testing.assert_close(match.distance, expected, rtol=1e-5, atol=1e-6)
    assert match.distance.dtype == torch.float32


@pytest.mark.parametrize("window", [9, 51])
def test_a_window_larger_than_the_image_looks_at_all_of_it(window: int):
    query, references = unit(3, 5, 4, seed=4), unit(2, 3, 5, 4, seed=5)
    match = match_one(query, references, torch.tensor([0, 1]), window)
    expected = 1 - torch.einsum("hwd,kijd->hwkij", query, references).flatten(2).amax(2)
    torch.testing.assert_close(match.distance, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("window", [1, 3, 5])
def test_the_match_lies_where_it_says(window: int):
    query, references = unit(8, 6, 5, seed=6), unit(7, 8, 6, 5, seed=7)
    neighbors = torch.tensor([5, 0, 3])
    match = match_one(query, references, neighbors, window)
    found = references[neighbors[match.neighbor], match.row, match.column]
    torch.testing.assert_close(1 - (query * found).sum(-1), match.distance, rtol=1e-5, atol=1e-6)
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(6), indexing="ij")
    assert (match.row - rows).abs().max() == window // 2
    assert (match.column - columns).abs().max() == window // 2


def test_a_cell_is_found_at_its_shifted_place_on_the_right_reference():
    references = unit(4, 9, 9, 16, seed=8)
    query = unit(9, 9, 16, seed=9)
    query[4, 5] = references[2, 5, 4]
    match = match_one(query, references, torch.tensor([3, 2]), 3)
    assert match.distance[4, 5].item() == pytest.approx(0, abs=1e-6)
    assert (match.neighbor[4, 5], match.row[4, 5], match.column[4, 5]) == (1, 5, 4)
    assert match_one(query, references, torch.tensor([3, 0]), 3).distance[4, 5] > 0.05


def test_a_match_just_outside_the_window_does_not_count():
    references = unit(1, 7, 7, 12, seed=10)
    query = unit(7, 7, 12, seed=11)
    query[3, 3] = references[0, 3, 5]
    assert match_one(query, references, torch.tensor([0]), 3).distance[3, 3] > 0.05
    assert match_one(query, references, torch.tensor([0]), 5).distance[3, 3].item() == pytest.approx(0, abs=1e-6)


def test_ties_go_to_the_nearer_neighbor_and_then_to_the_earlier_cell():
    query = torch.tensor([1.0, 0.0]).expand(4, 4, 2)
    references = torch.tensor([1.0, 0.0]).expand(3, 4, 4, 2)
    match = match_one(query, references, torch.tensor([2, 0, 1]), 3)
    assert match.neighbor.eq(0).all()
    expected = torch.tensor([0, 0, 1, 2])
    assert torch.equal(match.row, expected.view(4, 1).expand(4, 4))
    assert torch.equal(match.column, expected.expand(4, 4))


def test_non_contiguous_input_gives_the_same():
    query, references = unit(6, 7, 8, seed=12), unit(3, 6, 7, 8, seed=13)
    strange_query = query.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    strange_references = references.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    assert not strange_query.is_contiguous()
    assert not strange_references.is_contiguous()
    neighbors = torch.tensor([0, 2, 1])[::2]
    for value, expected in zip(
        match_one(strange_query, strange_references, neighbors, 3),
        match_one(query, references, torch.tensor([0, 1]), 3),
        strict=True,
    ):
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)


def test_half_precision_references_are_read_exactly():
    query, references = unit(6, 7, 8, seed=14), unit(3, 6, 7, 8, seed=15).half()
    half = match_one(query, references, torch.arange(3), 3)
    full = match_one(query, references.float(), torch.arange(3), 3)
    assert half.distance.dtype == torch.float32
    for value, expected in zip(half, full, strict=True):
        assert torch.equal(value, expected)


def test_nothing_is_written_to():
    query, references, neighbors = unit(5, 5, 4, seed=16), unit(2, 5, 5, 4, seed=17), torch.tensor([1, 0])
    before = query.clone(), references.clone(), neighbors.clone()
    match_one(query, references, neighbors, 3)
    assert all(torch.equal(a, b) for a, b in zip(before, (query, references, neighbors), strict=True))


@pytest.mark.parametrize("shape", [(2, 5, 6, 4), (2, 6, 5, 4), (2, 5, 5, 3)])
def test_references_of_another_shape_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"query is \(1, 5, 5, 4\)"):
        match_one(unit(5, 5, 4), unit(*shape), torch.tensor([0]), 3)


@pytest.mark.parametrize("window", [0, 2, 4, -1])
def test_a_window_that_is_not_odd_is_refused(window: int):
    with pytest.raises(ValueError, match="odd"):
        match_one(unit(5, 5, 4), unit(2, 5, 5, 4), torch.tensor([0]), window)


def test_no_neighbor_at_all_is_refused():
    with pytest.raises(ValueError, match="no neighbor"):
        match_one(unit(5, 5, 4), unit(2, 5, 5, 4), torch.tensor([], dtype=torch.int64), 3)


def test_as_many_rows_of_neighbors_as_queries_are_asked_for():
    query, references = unit(2, 5, 5, 4), Stored.of(unit(3, 5, 5, 4))
    for neighbors in (torch.tensor([0, 1]), torch.tensor([[0, 1]])):
        with pytest.raises(ValueError, match="2 queries need neighbors"):
            match_window(query, references, neighbors, 3)


def peak_bytes(call: Callable[[], Any]) -> int:
    """Most memory that was held at a time beyond what was held before."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        kept = call()
    assert profile.profiler is not None
    assert profile.profiler.kineto_results is not None
    changes: list[Any] = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    assert changes
    held = peak = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    del kept
    return peak


def test_no_more_memory_than_a_few_reference_images_is_held():
    height, width, dim, count, window = 24, 20, 96, 6, 5
    query, references = unit(height, width, dim, seed=18), unit(count, height, width, dim, seed=19).half()
    neighbors = torch.arange(count)
    image = height * width * dim * 4
    assert peak_bytes(lambda: match_one(query, references, neighbors, window)) <= 4 * image
    # The meter does see what the plain formulation holds: K · D · window² · H · W numbers.
    assert peak_bytes(lambda: plain(query, references, window)) >= count * window**2 * image
