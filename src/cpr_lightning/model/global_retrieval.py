"""Targeting: rank the references by the divergence of block-wise histograms of visual words (Section III-B).

Pure functions, then :class:`GlobalRetrieval`, which holds what was learned from one category's references.
"""

import faiss
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cpr_lightning.choices import Divergence
from cpr_lightning.model.divergence import block_divergence, count_terms, query_terms, reference_terms, trimmed_distance
from cpr_lightning.model.prefilter import PREFILTER_ABOVE, Prefilter
from cpr_lightning.model.targeting import ROW_BITS, target, trimmed_scan

_LARGEST_ROW = (1 << ROW_BITS) - 1


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
    products = torch.matmul(codebook, features.flatten(2))
    return (codebook.square().sum(1).view(-1, 1) - 2 * products).argmin(dim=1).unflatten(1, features.shape[2:])


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


def nearest(distances: Tensor, neighbors: int, excluded: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
    """The rows of least distance, nearest first; ties in the order of the rows.

    Ties keep their order also where only some of them are among the K. For that, distance and row make one number:
    the bits of the distance over those of the row. What falls off the distance is less than 4e-9 of 1 + itself, so
    that sums which differ in rounding alone are ties too.

    Args:
        distances: (B, M), ≥ 0 but for rounding.
        neighbors: K.
        excluded: (B,) a row of each that must not be chosen, or None.
        rows: (M,) int64, which the columns are; None: 0, 1, 2, …

    Returns:
        (B, K) int64; fewer than K where there are not as many.
    """
    if rows is None:
        rows = torch.arange(distances.shape[1], device=distances.device)
    if excluded is not None:
        distances = distances.masked_fill(rows == excluded.view(-1, 1), torch.inf)
    available = len(rows) if excluded is None else len(rows) - 1
    # From 1 on, the bits of a number rank as the number does, and near 1 they are evenly spaced.
    bits = (distances.double().clamp(min=0) + 1).view(torch.int64)
    keys = bits >> ROW_BITS << ROW_BITS | rows
    smallest = keys.topk(min(neighbors, available), dim=1, largest=False).values
    return smallest & _LARGEST_ROW


class GlobalRetrieval(nn.Module):
    """Ranks one category's references for a query.

    Args:
        codebook: (clusters, C), the words that the codes name.
        histograms: (R, S², clusters + 1) of the references.
        ignored_blocks: τ.
        divergence: how blocks are compared.
    """

    codebook: Tensor
    histograms: Tensor
    terms: Tensor

    def __init__(
        self,
        codebook: Tensor,
        histograms: Tensor,
        ignored_blocks: int = 5,
        divergence: Divergence = Divergence.official,
    ) -> None:
        super().__init__()
        if len(histograms) > _LARGEST_ROW:
            raise ValueError(f"{len(histograms)} references cannot be ranked, {_LARGEST_ROW} at most.")
        self.register_buffer("codebook", codebook)
        self.register_buffer("histograms", histograms)
        self.register_buffer("terms", reference_terms(histograms, divergence), persistent=False)
        self.ignored_blocks = ignored_blocks
        self.divergence = divergence
        self._prefilter: Prefilter | None = None

    @property
    def blocks(self) -> int:
        """S."""
        return round(self.histograms.shape[1] ** 0.5)

    def describe(self, codes: Tensor) -> Tensor:
        """Block histograms of images: (B, h, w) int64 words of the codebook → (B, S², clusters + 1)."""
        return block_histograms(codes, self.histograms.shape[2] - 1, self.blocks)

    def distances(self, histograms: Tensor) -> Tensor:
        """(Q, S², clusters + 1) → (Q, R) trimmed divergence to every reference."""
        constant, weights = query_terms(histograms, self.divergence)
        if self.terms.device.type == "cpu":
            return trimmed_scan(constant, weights, self.terms, self.ignored_blocks)
        return trimmed_distance(block_divergence(constant, weights, self.terms), self.ignored_blocks)

    def rank(self, histograms: Tensor, neighbors: int, excluded: Tensor | None = None) -> Tensor:
        """:meth:`forward` for images that are described already, (Q, S², clusters + 1)."""
        if not self._prefiltered:
            return nearest(self.distances(histograms), neighbors, excluded)
        if self._prefilter is None:
            self._prefilter = Prefilter(self.histograms, self.terms)
        constants, weights = query_terms(histograms, self.divergence)
        found = []
        for query, histogram in enumerate(histograms):
            one = slice(query, query + 1)
            ranges, rows = self._prefilter.candidates(histogram, neighbors + 1)
            terms = self._prefilter.terms
            distances = trimmed_scan(constants[one], weights[one], terms, self.ignored_blocks, ranges)
            found.append(nearest(distances, neighbors, None if excluded is None else excluded[one], rows))
        return torch.cat(found)

    def forward(self, codes: Tensor, neighbors: int, excluded: Tensor | None = None) -> Tensor:
        """The nearest references.

        Args:
            codes: (B, h, w) int64, the words of the images' first-scale cells (:func:`assign_codes`).
            neighbors: K.
            excluded: (B,) a reference that must not be chosen (a reference's own row, when it is the query), or None.

        Returns:
            (B, K) int64 rows of the references, nearest first; ties in the order of the references. Fewer than K
            where there are not as many. Of more than 50,000 on a CPU, those that the pre-filter lets through.
        """
        if self.terms.device.type != "cpu" or self._prefiltered:
            return self.rank(self.describe(codes), neighbors, excluded)
        if excluded is None:
            excluded = torch.full((len(codes),), -1)
        cells = -(-codes.shape[1] // self.blocks) * -(-codes.shape[2] // self.blocks)
        counts = count_terms(cells, self.divergence)
        return target(codes, self.blocks, counts, self.terms, self.ignored_blocks, neighbors, excluded)

    @property
    def _prefiltered(self) -> bool:
        # A GPU scans them all in less time than it takes to leave it; and what the pre-filter takes for near is so for
        # KL, but need not be for a Euclidean distance.
        many = len(self.histograms) > PREFILTER_ABOVE
        return many and self.terms.device.type == "cpu" and self.divergence is not Divergence.l2
