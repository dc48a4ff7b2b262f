"""Targeting against the golden numbers, SciPy, scikit-learn and plain loops."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import rel_entr
from sklearn.cluster import KMeans
from torch import Tensor

from cpr_lightning.choices import Divergence
from cpr_lightning.model.divergence import block_divergence, query_terms, reference_terms, trimmed_distance
from cpr_lightning.model.global_retrieval import GlobalRetrieval, assign_codes, block_histograms, fit_codebook, nearest

Golden = Callable[[str], dict[str, Tensor]]


def random_histograms(count: int, seed: int = 0) -> Tensor:
    """Like real ones: most bins of a block are empty."""
    rng = np.random.default_rng(seed)
    values = rng.random((count, 25, 13)) * (rng.random((count, 25, 13)) < 0.4)
    values[..., 3] += 0.1
    return torch.from_numpy(values / values.sum(2, keepdims=True)).float()


def divergences(query: Tensor, references: Tensor, divergence: Divergence = Divergence.official) -> Tensor:
    return block_divergence(*query_terms(query, divergence), reference_terms(references, divergence))


def slow_divergences(query: Tensor, references: Tensor, divergence: Divergence) -> np.ndarray:
    """(Q, R, S²) by SciPy and NumPy."""
    q, r = query.double().numpy()[:, None], references.double().numpy()[None]
    if divergence is Divergence.l2:
        return np.linalg.norm(q - r, axis=-1) ** 2
    q, r = q + 1e-8, r + 1e-8
    return (rel_entr(q, r) if divergence is Divergence.official else rel_entr(r, q)).sum(-1)


def slow_histograms(codes: np.ndarray, clusters: int, blocks: int) -> np.ndarray:
    """One image, cell by cell; the padding is a word of its own before the first rows and columns."""
    height, width = (-(-side // blocks) * blocks for side in codes.shape)
    padded = np.zeros((height, width), int)
    padded[height - codes.shape[0] :, width - codes.shape[1] :] = codes + 1
    counts = np.zeros((blocks * blocks, clusters + 1))
    for row in range(height):
        for column in range(width):
            block = row // (height // blocks) * blocks + column // (width // blocks)
            counts[block, padded[row, column]] += 1
    return counts / counts.sum(1, keepdims=True)


def test_golden_codes_and_histograms(golden: Golden):
    numbers = golden("global_retrieval")
    codes = assign_codes(numbers["query_features"], numbers["centroids"])
    assert torch.equal(codes[0], numbers["query_codes"].long())
    torch.testing.assert_close(block_histograms(codes, 12, 5)[0], numbers["query_histograms"], rtol=1e-5, atol=1e-7)
    references = block_histograms(assign_codes(numbers["reference_features"], numbers["centroids"]), 12, 5)
    torch.testing.assert_close(references, numbers["reference_histograms"], rtol=1e-5, atol=1e-7)


def test_golden_divergence_distance_and_ranking(golden: Golden):
    numbers = golden("global_retrieval")
    divergence = divergences(numbers["query_histograms"][None], numbers["reference_histograms"])
    torch.testing.assert_close(divergence[0].float(), numbers["block_kl"], rtol=1e-5, atol=1e-5)
    distance = trimmed_distance(divergence, 5)
    torch.testing.assert_close(distance[0].float(), numbers["distance"], rtol=1e-5, atol=1e-5)
    retrieval = GlobalRetrieval(numbers["centroids"], numbers["reference_histograms"])
    codes = numbers["query_codes"].long()[None]
    scanned = retrieval.distances(retrieval.describe(codes))
    torch.testing.assert_close(scanned[0].float(), numbers["distance"], rtol=1e-5, atol=1e-5)
    assert torch.equal(retrieval(codes, 9)[0], numbers["ranking"])
    assert torch.equal(retrieval(codes, 3)[0], numbers["ranking"][:3])


@pytest.mark.parametrize("divergence", list(Divergence))
def test_divergence_agrees_with_scipy(divergence: Divergence):
    query, references = random_histograms(3, 1), random_histograms(4, 2)
    expected = {each: slow_divergences(query, references, each) for each in Divergence}
    found = divergences(query, references, divergence).numpy()
    np.testing.assert_allclose(found, expected[divergence], rtol=1e-9, atol=1e-9)
    others = [value for each, value in expected.items() if each is not divergence]
    assert all(np.abs(other - expected[divergence]).max() > 0.1 for other in others)  # they do differ


def test_the_divergence_reaches_the_ranking():
    references, query = random_histograms(40, 3), random_histograms(1, 4)
    rankings = set()
    for divergence in Divergence:
        retrieval = GlobalRetrieval(torch.zeros(12, 2), references, 5, divergence)
        ranking = nearest(retrieval.distances(query), 40)[0].numpy()
        blocks = slow_divergences(query, references, divergence)[0]
        np.testing.assert_array_equal(ranking, np.sort(blocks, axis=1)[:, :20].sum(1).argsort())
        rankings.add(tuple(ranking))
    assert len(rankings) == len(Divergence)


@pytest.mark.parametrize("ignored", [0, 5, 24])
def test_the_worst_blocks_are_left_out_and_sum_and_mean_rank_alike(ignored: int):
    divergence = torch.rand(3, 30, 25, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    kept = np.sort(divergence.numpy(), axis=2)[..., : 25 - ignored]
    distance = trimmed_distance(divergence, ignored).numpy()
    np.testing.assert_allclose(distance, kept.sum(2), rtol=1e-12)
    np.testing.assert_array_equal(distance.argsort(1), kept.mean(2).argsort(1))


def test_a_defect_in_few_blocks_does_not_change_the_distance():
    histograms = random_histograms(2, 6)
    spoiled = histograms[:1].clone()
    spoiled[0, :5] = 0
    spoiled[0, :5, 12] = 1
    to_itself = trimmed_distance(divergences(spoiled, histograms), 5)[0, 0]
    assert to_itself.item() == pytest.approx(0, abs=1e-6)
    assert trimmed_distance(divergences(spoiled, histograms), 4)[0, 0] > 1


@pytest.mark.parametrize(("height", "width", "blocks"), [(20, 20, 5), (22, 22, 5), (13, 17, 4), (8, 8, 5), (7, 9, 1)])
def test_histograms_agree_with_plain_loops(height: int, width: int, blocks: int):
    codes = torch.randint(6, (2, height, width), generator=torch.Generator().manual_seed(height))
    expected = np.stack([slow_histograms(each.numpy(), 6, blocks) for each in codes])
    histograms = block_histograms(codes, 6, blocks)
    assert histograms.dtype == torch.float32
    np.testing.assert_allclose(histograms.numpy(), expected, rtol=1e-6, atol=1e-7)


def test_codes_are_the_nearest_centres():
    generator = torch.Generator().manual_seed(7)
    features = torch.rand(2, 9, 6, 5, generator=generator) * 10
    codebook = torch.rand(7, 9, generator=generator) * 10
    cells = features.permute(0, 2, 3, 1).reshape(-1, 9).numpy()
    expected = cdist(cells, codebook.numpy()).argmin(1).reshape(2, 6, 5)
    np.testing.assert_array_equal(assign_codes(features, codebook).numpy(), expected)


def test_k_means_is_as_good_as_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    centres = rng.uniform(-10, 10, (20, 16))
    vectors = (centres[rng.integers(20, size=3000)] + rng.normal(0, 6, (3000, 16))).astype(np.float32)
    codebook = fit_codebook(vectors, 12, restarts=10, seed=66)
    assert codebook.shape == (12, 16)
    assert codebook.dtype == np.float32
    inertia = cdist(vectors, codebook, "sqeuclidean").min(1).sum()
    kmeans: Any = KMeans  # scikit-learn's own annotations refuse a number of restarts
    assert inertia <= 1.03 * kmeans(12, n_init=10, random_state=0).fit(vectors).inertia_


def test_k_means_uses_all_vectors():
    # FAISS alone would take 256 a centre at random, and say nothing.
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(4000, 4)).astype(np.float32)
    codebook = fit_codebook(vectors, 2, restarts=3, seed=1)
    nearest_centre = cdist(vectors, codebook).argmin(1)
    for number, centre in enumerate(codebook):
        np.testing.assert_allclose(centre, vectors[nearest_centre == number].mean(0), atol=0.02)


def test_k_means_is_deterministic_and_depends_on_the_seed():
    vectors = np.random.default_rng(2).random((500, 8), dtype=np.float32)
    first = fit_codebook(vectors, 5, restarts=1, seed=3)
    np.testing.assert_array_equal(fit_codebook(vectors.copy(), 5, restarts=1, seed=3), first)
    assert not np.array_equal(fit_codebook(vectors, 5, restarts=1, seed=4), first)


def test_few_vectors_are_enough_for_a_codebook():
    vectors = np.random.default_rng(3).random((14, 3), dtype=np.float32)
    codebook = fit_codebook(vectors, 12, restarts=2, seed=0)
    assert np.isfinite(codebook).all()
    assert len(np.unique(codebook, axis=0)) == 12


def test_the_nearest_come_first_and_ties_keep_the_order_of_the_references():
    distances = torch.tensor([[3.0, 1.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert nearest(distances, 3).tolist() == [[1, 3, 2], [0, 1, 2]]


@pytest.mark.parametrize("neighbors", [1, 4, 7, 12])
def test_ties_at_the_last_place_go_to_the_first_rows(neighbors: int):
    generator = torch.Generator().manual_seed(9)
    distances = torch.randint(4, (50, 300), generator=generator) / 4
    expected = np.argsort(distances.numpy(), axis=1, kind="stable")[:, :neighbors]
    np.testing.assert_array_equal(nearest(distances, neighbors).numpy(), expected)


def test_sums_that_differ_in_rounding_alone_are_ties():
    noise = [2e-16, -1e-16, 0.0, 3e-16]
    assert nearest(torch.tensor([noise], dtype=torch.float64), 4).tolist() == [[0, 1, 2, 3]]
    assert nearest(torch.tensor([[5.3 + 1e-15, 5.3]], dtype=torch.float64), 2).tolist() == [[0, 1]]
    assert nearest(torch.tensor([[5.3 + 1e-7, 5.3]], dtype=torch.float64), 2).tolist() == [[1, 0]]


def test_columns_may_be_any_rows():
    rows = torch.tensor([40, 7, 99, 12])
    distances = torch.tensor([[1.0, 2.0, 0.5, 1.0], [1.0, 2.0, 0.5, 1.0]])
    assert nearest(distances, 4, rows=rows).tolist() == [[99, 12, 40, 7]] * 2
    assert nearest(distances, 4, torch.tensor([99, 5]), rows).tolist() == [[12, 40, 7], [99, 12, 40]]


@pytest.mark.parametrize("divergence", list(Divergence))
def test_copies_of_references_keep_their_order_wherever_they_stand(divergence: Divergence):
    different = random_histograms(7, 10)
    which = torch.randint(7, (700,), generator=torch.Generator().manual_seed(11))
    retrieval = GlobalRetrieval(torch.zeros(12, 2), different[which], 5, divergence)
    few = GlobalRetrieval(torch.zeros(12, 2), different, 5, divergence)
    query = random_histograms(3, 12)
    for ranked, best in zip(retrieval.rank(query, 700), few.rank(query, 7), strict=True):
        expected = torch.cat([(which == one).nonzero()[:, 0] for one in best])
        assert torch.equal(ranked, expected)


def test_the_excluded_row_is_never_returned():
    distances = torch.rand(6, 6, generator=torch.Generator().manual_seed(8))
    distances.fill_diagonal_(0)
    chosen = nearest(distances, 5, torch.arange(6))
    for row in range(6):
        others = [other for other in distances[row].argsort().tolist() if other != row]
        assert chosen[row].tolist() == others


def test_the_excluded_row_is_not_returned_when_there_are_no_more_references_than_neighbors():
    chosen = nearest(torch.tensor([[0.0, 1.0, 2.0]]), 3, torch.tensor([0]))
    assert 0 not in chosen[0].tolist()
    assert chosen[0].tolist() == [1, 2]


def test_a_batch_is_ranked_like_its_images_one_by_one(golden: Golden):
    numbers = golden("global_retrieval")
    retrieval = GlobalRetrieval(numbers["centroids"], numbers["reference_histograms"])
    codes = assign_codes(numbers["reference_features"], numbers["centroids"])
    together = retrieval(codes, 4)
    assert together[:, 0].tolist() == list(range(9))  # each is its own nearest
    for row in range(9):
        assert torch.equal(retrieval(codes[row : row + 1], 4)[0], together[row])
    excluded = retrieval(codes, 4, torch.arange(9))
    assert torch.equal(excluded[:, :3], together[:, 1:])
