"""K-center-greedy against a plain one, and against what it promises."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from cpr_lightning.retrieval import coreset
from cpr_lightning.retrieval.coreset import k_center


def crowd(number: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    """Unit vectors around a few directions, some close and some wide, as features are."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(12, dim))
    spread = rng.choice([0.05, 0.3, 1.0], 12)
    which = rng.integers(12, size=number)
    vectors = middles[which] + spread[which, None] * rng.normal(size=(number, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def plain_greedy(vectors: NDArray[np.float32], count: int, seed: int) -> tuple[list[int], NDArray[np.float64]]:
    """The rows, and the distances of all vectors to the nearest of them; every distance taken."""
    row = int(np.random.default_rng(seed).integers(len(vectors)))
    distances, rows = np.full(len(vectors), np.inf), []
    while len(rows) < count and (not rows or distances[row] > 0):
        rows.append(row)
        difference = vectors.astype(np.float64) - vectors[row]
        distances = np.minimum(distances, np.linalg.norm(difference, axis=1))
        row = int(distances.argmax())
    return rows, distances


@pytest.mark.parametrize(("number", "dim", "count"), [(1, 4, 1), (500, 3, 1), (2000, 16, 300), (900, 130, 900)])
@pytest.mark.parametrize("seed", [0, 7])
def test_the_traversal_is_the_plain_one(number: int, dim: int, count: int, seed: int):
    vectors = crowd(number, dim)
    rows, distances = plain_greedy(vectors, count, seed)
    found = k_center(vectors, count, seed)
    assert found.rows.tolist() == rows
    assert found.radius == pytest.approx(distances.max(), rel=1e-5)


def test_the_seed_chooses_where_it_begins_and_nothing_else_is_drawn():
    vectors = crowd(3000, 24)
    first, again, other = (k_center(vectors, 200, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.rows, again.rows)
    assert first.rows[0] != other.rows[0]


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(coreset, "_PER_THREAD", 100)
    vectors, threads = crowd(3000, 24), torch.get_num_threads()
    found = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(k_center(vectors, 300, 3).rows)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(*found)


def test_more_vectors_continue_the_same_traversal():
    vectors = crowd(2000, 8)
    np.testing.assert_array_equal(k_center(vectors, 50, 4).rows, k_center(vectors, 150, 4).rows[:50])


def test_the_covering_radius_is_within_twice_the_bound_and_below_that_of_random_choices():
    vectors, count = crowd(4000, 32), 200
    found = k_center(vectors, count, 5)
    covered = cdist(vectors, vectors[found.rows]).min(axis=1).max()
    assert found.radius == pytest.approx(covered, rel=1e-4)
    # Two of count + 1 vectors share a center, however the centers lie: half of their least distance is a bound.
    one_more = vectors[k_center(vectors, count + 1, 5).rows]
    apart = cdist(one_more, one_more)
    bound = apart[np.triu_indices(count + 1, 1)].min() / 2
    assert bound <= covered <= 2 * bound * (1 + 1e-6)
    rng = np.random.default_rng(6)
    for _ in range(20):
        chosen = rng.choice(len(vectors), count, replace=False)
        assert covered < cdist(vectors, vectors[chosen]).min(axis=1).max()


def test_copies_are_chosen_once():
    different = crowd(40, 8)
    vectors = np.repeat(different, 30, axis=0)[np.random.default_rng(0).permutation(1200)]
    found = k_center(vectors, 100, 0)
    assert len(found.rows) == 40
    assert found.radius == 0
    assert len(np.unique(vectors[found.rows], axis=0)) == 40


@pytest.mark.parametrize("count", [0, 11])
def test_a_count_that_is_not_there_is_refused(count: int):
    with pytest.raises(ValueError, match="cannot be chosen"):
        k_center(crowd(10, 4), count, 0)
