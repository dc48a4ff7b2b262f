"""The CPU's scan against the plain formulation."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cpr_lightning.model.global_retrieval import block_divergence, query_terms, reference_terms, trimmed_distance
from cpr_lightning.model.trimmed_scan import trimmed_scan
from cpr_lightning.settings import Reading


def histograms(count: int, blocks: int, seed: int) -> Tensor:
    """Half of the bins empty."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(count, blocks, 13, generator=generator)
    values = values * (torch.rand(values.shape, generator=generator) < 0.5)
    values[..., 2] += 0.1
    return values / values.sum(2, keepdim=True)


@pytest.mark.parametrize("reading", list(Reading))
@pytest.mark.parametrize(("references", "blocks", "ignored"), [(1, 25, 5), (257, 25, 0), (600, 9, 8), (300, 1, 0)])
def test_the_scan_is_the_trimmed_sum_of_block_divergences(reading: Reading, references: int, blocks: int, ignored: int):
    queries = query_terms(histograms(3, blocks, 1), reading)
    terms = reference_terms(histograms(references, blocks, 2), reading)
    expected = trimmed_distance(block_divergence(*queries, terms), ignored)
    torch.testing.assert_close(trimmed_scan(*queries, terms, ignored), expected, rtol=1e-12, atol=1e-12)


def test_only_the_ranges_asked_for_are_scanned_in_their_order():
    queries = query_terms(histograms(2, 25, 3), Reading.official)
    terms = reference_terms(histograms(900, 25, 4), Reading.official)
    everything = trimmed_scan(*queries, terms, 5)
    ranges = np.array([[700, 702], [5, 405], [100, 100], [899, 900]])
    columns = np.concatenate([np.arange(*each) for each in ranges])
    assert torch.equal(trimmed_scan(*queries, terms, 5, ranges), everything[:, columns])


def test_terms_may_be_any_view():
    queries = query_terms(histograms(2, 4, 5), Reading.official)
    terms = reference_terms(histograms(50, 4, 6), Reading.official)
    view = terms.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert torch.equal(trimmed_scan(*queries, view, 1), trimmed_scan(*queries, terms, 1))
    assert torch.equal(trimmed_scan(*queries, terms[:, :, ::2], 1), trimmed_scan(*queries, terms, 1)[:, ::2])
