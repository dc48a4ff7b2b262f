"""Targeting: rank the references by the divergence of block-wise histograms of visual words (Section III-B).

Pure functions, then :class:`GlobalRetrieval`, which holds what was learned from one category's references.
"""

import faiss
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cpr_lightning.settings import Reading

_EPSILON = 1e-8  # added to every bin, as in the released code


def fit_codebook(vectors: np.ndarray, clusters: int, restarts: int, seed: int) -> np.ndarray:
    """K-means centres, (clusters, C) float32, of ``vectors`` (N, C) float32; the best of ``restarts`` runs."""
    kmeans = faiss.Kmeans(
        vectors.shape[1],
        clusters,
        niter=50,
        nredo=restarts,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=len(vectors),
    )
    kmeans.train(np.ascontiguousarray(vectors, dtype=np.float32))
    if kmeans.centroids is None:
        raise RuntimeError("FAISS k-means returned no centres.")
    return kmeans.centroids


def assign_codes(features: Tensor, codebook: Tensor) -> Tensor:
    """The nearest centre of each cell: (B, C, H, W), (clusters, C) → (B, H, W) int64, from 0."""
    # ‖f − c‖² without ‖f‖², which is the same for all centres.
    products = torch.einsum("bchw,kc->bkhw", features, codebook)
    return (codebook.square().sum(1).view(-1, 1, 1) - 2 * products).argmin(dim=1)


def block_histograms(codes: Tensor, clusters: int, blocks: int) -> Tensor:
    """Bag-of-words histograms of S × S blocks.

    Where the side is not divisible by S, the released code's padding amounts to rows and columns of an extra word
    before the first ones; that word is bin 0 (golden/global_retrieval.npz).

    Args:
        codes: (B, H, W) int64 in [0, clusters).
        clusters: number of words.
        blocks: S.

    Returns:
        (B, S², clusters + 1) float32, each block's bins summing to 1.
    """
    height, width = codes.shape[1:]
    padded = F.pad(codes + 1, ((-width) % blocks, 0, (-height) % blocks, 0))
    tiles = padded.unflatten(2, (blocks, -1)).unflatten(1, (blocks, -1)).permute(0, 1, 3, 2, 4)
    words = tiles.reshape(len(codes), blocks * blocks, -1)
    counts = torch.zeros(*words.shape[:2], clusters + 1, device=codes.device)
    counts.scatter_add_(2, words, torch.ones_like(words, dtype=counts.dtype))
    return counts / words.shape[2]


def block_divergence(query: Tensor, references: Tensor, reading: Reading = Reading.official) -> Tensor:
    """Kullback–Leibler divergence of each block: (Q, S², bins), (R, S², bins) → (Q, R, S²) float64.

    Σ q log q − Σ q log r makes it a matrix product per block. ``official`` is KL(query‖reference), ``paper`` is
    KL(reference‖query). Double precision, because near neighbors are a small difference of large sums.
    """
    if reading is Reading.paper:
        return block_divergence(references, query).transpose(0, 1)
    q = query.double() + _EPSILON
    r = references.double() + _EPSILON
    return (q * q.log()).sum(2).unsqueeze(1) - torch.einsum("qbc,rbc->qrb", q, r.log())


def trimmed_distance(divergence: Tensor, ignored_blocks: int) -> Tensor:
    """Sum over all but the ``ignored_blocks`` (τ) largest blocks: (…, S²) → (…).

    The paper takes the mean; the ranking is the same.
    """
    kept = divergence.shape[-1] - ignored_blocks
    return divergence.sort(dim=-1).values[..., :kept].sum(-1)


class GlobalRetrieval(nn.Module):
    """Ranks one category's references for a query.

    Args:
        codebook: (clusters, C).
        histograms: (R, S², clusters + 1) of the references.
        ignored_blocks: τ.
        divergence: official or paper direction.
    """

    codebook: Tensor
    histograms: Tensor

    def __init__(
        self,
        codebook: Tensor,
        histograms: Tensor,
        ignored_blocks: int = 5,
        divergence: Reading = Reading.official,
    ) -> None:
        super().__init__()
        self.register_buffer("codebook", codebook)
        self.register_buffer("histograms", histograms)
        self.ignored_blocks = ignored_blocks
        self.divergence = divergence

    def describe(self, features: Tensor) -> Tensor:
        """Block histograms of images: (B, C, H, W) first-scale raw features → (B, S², clusters + 1)."""
        blocks = round(self.histograms.shape[1] ** 0.5)
        return block_histograms(assign_codes(features, self.codebook), len(self.codebook), blocks)

    def distances(self, histograms: Tensor) -> Tensor:
        """(Q, S², clusters + 1) → (Q, R) trimmed divergence to every reference."""
        return trimmed_distance(block_divergence(histograms, self.histograms, self.divergence), self.ignored_blocks)

    def forward(self, features: Tensor, neighbors: int, excluded: Tensor | None = None) -> Tensor:
        """The nearest references.

        Args:
            features: (B, C, H, W), first-scale raw features.
            neighbors: K.
            excluded: (B,) a reference that must not be chosen (a reference's own row, when it is the query), or None.

        Returns:
            (B, K) int64 rows of the references, nearest first; ties in the order of the references. Fewer than K
            where there are not as many.
        """
        return nearest(self.distances(self.describe(features)), neighbors, excluded)


def nearest(distances: Tensor, neighbors: int, excluded: Tensor | None = None) -> Tensor:
    """(B, R) distances → (B, K) rows, nearest first, without the ``excluded`` (B,) row of each."""
    if excluded is not None:
        distances = distances.scatter(1, excluded.view(-1, 1), torch.inf)
        neighbors = min(neighbors, distances.shape[1] - 1)
    return distances.argsort(dim=1, stable=True)[:, :neighbors]
