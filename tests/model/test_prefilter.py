"""The pre-filter for very many references: what it lets through, and that ranking among it is the exact one."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cpr_lightning.choices import Divergence
from cpr_lightning.model import global_retrieval
from cpr_lightning.model.divergence import reference_terms
from cpr_lightning.model.global_retrieval import GlobalRetrieval, nearest
from cpr_lightning.model.prefilter import Prefilter

REFERENCES = 3000


def families(count: int, seed: int) -> Tensor:
    """Variations of 40 different images, like a line's: (count, 9, 7), each block of 64 cells."""
    base = np.random.default_rng(0).dirichlet(np.full(7, 0.5), (40, 9))
    rng = np.random.default_rng(seed)
    members = rng.integers(40, size=count)
    return torch.from_numpy(rng.multinomial(64, base[members]) / 64).float()


@pytest.fixture(scope="module")
def references() -> Tensor:
    return families(REFERENCES, 1)


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(global_retrieval, "PREFILTER_ABOVE", 1000)


def exact(retrieval: GlobalRetrieval, queries: Tensor, neighbors: int, excluded: Tensor | None = None) -> Tensor:
    return nearest(retrieval.distances(queries), neighbors, excluded)


def recall(found: Tensor, expected: Tensor) -> float:
    hits = [np.isin(one, other).mean() for one, other in zip(found.numpy(), expected.numpy(), strict=True)]
    return float(np.mean(hits))


@pytest.mark.parametrize("divergence", list(Divergence))
def test_nearly_all_of_the_nearest_are_found(references: Tensor, divergence: Divergence):
    retrieval = GlobalRetrieval(torch.zeros(6, 2), references, 2, divergence)
    queries = families(60, 2)
    assert recall(retrieval.rank(queries, 10), exact(retrieval, queries, 10)) >= 0.99


@pytest.mark.parametrize("divergence", [Divergence.official, Divergence.paper])
def test_candidates_are_ranked_by_the_exact_distance(references: Tensor, divergence: Divergence):
    retrieval = GlobalRetrieval(torch.zeros(6, 2), references, 2, divergence)
    queries = families(5, 3)
    prefilter = Prefilter(references, retrieval.terms)
    for query, ranked in zip(queries, retrieval.rank(queries, 10), strict=True):
        distances = retrieval.distances(query[None])
        candidates = prefilter.candidates(query, 11)[1].sort().values
        expected = candidates[nearest(distances[:, candidates], 10)[0]]
        assert torch.equal(ranked, expected)


def test_a_euclidean_distance_is_taken_to_all(references: Tensor):
    retrieval = GlobalRetrieval(torch.zeros(6, 2), references, 2, Divergence.l2)
    queries = families(20, 6)
    assert torch.equal(retrieval.rank(queries, 10), exact(retrieval, queries, 10))


def test_a_share_of_the_references_is_looked_at_and_no_more_than_that_and_a_list(references: Tensor):
    prefilter = Prefilter(references, reference_terms(references, Divergence.official))
    ranges, rows = prefilter.candidates(references[5], 10)
    assert 0.2 * REFERENCES <= len(rows) < 0.3 * REFERENCES
    assert len(rows.unique()) == len(rows)
    assert 5 in rows
    for (first, behind), part in zip(ranges, rows.split([int(b - a) for a, b in ranges]), strict=True):
        assert torch.equal(prefilter.rows[first:behind], part)


def test_every_reference_is_in_one_list_with_its_own_terms(references: Tensor):
    terms = reference_terms(references, Divergence.official)
    prefilter = Prefilter(references, terms)
    assert torch.equal(prefilter.rows.sort().values, torch.arange(REFERENCES))
    assert torch.equal(prefilter.terms, terms[:, :, prefilter.rows])
    assert len(prefilter.candidates(references[0], REFERENCES)[1]) == REFERENCES


def test_the_same_references_give_the_same_lists(references: Tensor):
    terms = reference_terms(references, Divergence.official)
    first, again = Prefilter(references, terms), Prefilter(references.clone(), terms)
    assert torch.equal(first.rows, again.rows)
    for query in families(5, 4):
        np.testing.assert_array_equal(first.candidates(query, 10)[0], again.candidates(query, 10)[0])


def test_an_excluded_row_is_not_returned(references: Tensor):
    retrieval = GlobalRetrieval(torch.zeros(6, 2), references, 2)
    rows = torch.arange(0, REFERENCES, 100)
    assert torch.equal(retrieval.rank(references[rows], 1)[:, 0], rows)
    found = retrieval.rank(references[rows], 10, rows)
    assert not (found == rows[:, None]).any()
    assert recall(found, exact(retrieval, references[rows], 10, rows)) >= 0.99


def test_more_neighbors_than_the_share_are_still_all_returned(references: Tensor):
    retrieval = GlobalRetrieval(torch.zeros(6, 2), references, 2)
    rows = torch.tensor([3, 4])
    for wanted in (2000, REFERENCES):
        found = retrieval.rank(references[rows], wanted, rows)
        assert found.shape == (2, min(wanted, REFERENCES - 1))
        assert (found[:, 1:] != found[:, :-1]).all()


def test_references_that_are_all_alike_keep_their_order(references: Tensor):
    alike = references[:1].repeat(2000, 1, 1)
    found = GlobalRetrieval(torch.zeros(6, 2), alike, 2).rank(alike[:1], 10, torch.tensor([3]))
    assert found.tolist() == [[0, 1, 2, 4, 5, 6, 7, 8, 9, 10]]


def test_it_is_not_used_for_fewer_references(references: Tensor, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(global_retrieval, "PREFILTER_ABOVE", REFERENCES)
    monkeypatch.setattr(global_retrieval, "Prefilter", None)
    retrieval = GlobalRetrieval(torch.zeros(6, 2), references, 2)
    queries = families(3, 5)
    assert torch.equal(retrieval.rank(queries, 10), exact(retrieval, queries, 10))
