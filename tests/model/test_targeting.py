"""The CPU's scan against the plain formulation."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cpr_lightning.choices import Divergence
from cpr_lightning.model.divergence import block_divergence, query_terms, reference_terms, trimmed_distance
from cpr_lightning.model.global_retrieval import GlobalRetrieval, block_histograms
from cpr_lightning.model.targeting import trimmed_scan


def histograms(count: int, blocks: int, seed: int) -> Tensor:
    """Half of the bins empty."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(count, blocks, 13, generator=generator)
    values = values * (torch.rand(values.shape, generator=generator) < 0.5)
    values[..., 2] += 0.1
    return values / values.sum(2, keepdim=True)


@pytest.mark.parametrize("divergence", list(Divergence))
@pytest.mark.parametrize(("references", "blocks", "ignored"), [(1, 25, 5), (257, 25, 0), (600, 9, 8), (300, 1, 0)])
def test_the_scan_is_the_trimmed_sum_of_block_divergences(
    divergence: Divergence, references: int, blocks: int, ignored: int
):
    queries = query_terms(histograms(3, blocks, 1), divergence)
    terms = reference_terms(histograms(references, blocks, 2), divergence)
    expected = trimmed_distance(block_divergence(*queries, terms), ignored)
    torch.testing.assert_close(trimmed_scan(*queries, terms, ignored), expected, rtol=1e-12, atol=1e-12)


def test_only_the_ranges_asked_for_are_scanned_in_their_order():
    queries = query_terms(histograms(2, 25, 3), Divergence.official)
    terms = reference_terms(histograms(900, 25, 4), Divergence.official)
    everything = trimmed_scan(*queries, terms, 5)
    ranges = np.array([[700, 702], [5, 405], [100, 100], [899, 900]])
    columns = np.concatenate([np.arange(*each) for each in ranges])
    assert torch.equal(trimmed_scan(*queries, terms, 5, ranges), everything[:, columns])


def test_terms_may_be_any_view():
    queries = query_terms(histograms(2, 4, 5), Divergence.official)
    terms = reference_terms(histograms(50, 4, 6), Divergence.official)
    view = terms.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert torch.equal(trimmed_scan(*queries, view, 1), trimmed_scan(*queries, terms, 1))
    assert torch.equal(trimmed_scan(*queries, terms[:, :, ::2], 1), trimmed_scan(*queries, terms, 1)[:, ::2])


@pytest.mark.parametrize("divergence", list(Divergence))
@pytest.mark.parametrize(
    ("references", "blocks", "ignored"), [(1, 5, 5), (3, 5, 0), (700, 5, 5), (300, 3, 8), (300, 1, 0)]
)
@pytest.mark.parametrize("grid", [(80, 80), (19, 23)])
def test_words_lead_to_the_neighbors_that_the_single_steps_lead_to(
    divergence: Divergence, references: int, blocks: int, ignored: int, grid: tuple[int, int]
):
    generator = torch.Generator().manual_seed(references)
    codes = (
        torch.randint(12, (references + 4, *grid), generator=generator) * torch.rand(grid, generator=generator).round()
    )
    described = block_histograms(codes.long(), 12, blocks)
    retrieval = GlobalRetrieval(torch.zeros(12, 3), described[4:], ignored, divergence)
    for excluded in (None, torch.tensor([0, references - 1, 0, references // 2])):
        found = retrieval(codes[:4].long(), 10, excluded)
        assert torch.equal(found, retrieval.rank(described[:4], 10, excluded))
        assert found.shape == (4, min(10, references - (excluded is not None)))


def test_equal_references_keep_their_order_among_the_nearest():
    codes = torch.randint(12, (1, 20, 20), generator=torch.Generator().manual_seed(1))
    retrieval = GlobalRetrieval(torch.zeros(12, 3), block_histograms(codes.expand(600, 20, 20), 12, 5))
    assert retrieval(codes, 5).tolist() == [[0, 1, 2, 3, 4]]
    assert retrieval(codes, 5, torch.tensor([2])).tolist() == [[0, 1, 3, 4, 5]]
