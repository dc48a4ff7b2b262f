"""Which of very many references are worth an exact look: lists of references that are alike, found by FAISS k-means."""

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PREFILTER_ABOVE = 50_000  # references; below, a scan of all takes a few milliseconds
_LISTS = 256
_SHARE = 0.2  # of the references, that are looked at
_TRAINING = 64  # histograms per list that the centres are learned from
_ITERATIONS = 8
_SEED = 1


class Prefilter:
    """An inverted file over the square roots of histograms, between which squared distances are those of Hellinger.

    Near in that sense is near in the trimmed divergence too, but for the blocks that the trimming ignores: so whole
    lists are looked at, and far more references than are wanted. In a list they lie side by side, for the exact scan.

    Args:
        histograms: (R, S², bins).
        terms: (S², T, R), what the exact divergence takes from the references; copied in the order of the lists.

    Attributes:
        rows: (R,) int64, the references in the order of the lists.
        terms: (S², T, R) in that order.
    """

    def __init__(self, histograms: Tensor, terms: Tensor) -> None:
        vectors = _roots(histograms)
        lists = min(_LISTS, len(vectors))
        kmeans = faiss.Kmeans(
            vectors.shape[1],
            lists,
            niter=_ITERATIONS,
            seed=_SEED,
            min_points_per_centroid=1,
            max_points_per_centroid=_TRAINING,
        )
        kmeans.train(vectors)
        self._centres = kmeans.index
        members = self._centres.search(vectors, 1)[1][:, 0]
        order = np.argsort(members, kind="stable")
        self._stops = np.cumsum(np.bincount(members, minlength=lists))
        self.rows = torch.from_numpy(order)
        self.terms = terms[:, :, self.rows]

    def candidates(self, histogram: Tensor, wanted: int) -> tuple[NDArray[np.int64], Tensor]:
        """The lists nearest to a query (S², bins), as many as hold a share of the references, and ``wanted`` at least.

        Returns:
            (P, 2) ranges of :attr:`terms`, first and behind the last; (M,) int64 the references in them, in that order.
        """
        nearest = self._centres.search(_roots(histogram[None]), len(self._stops))[1][0]
        stops = self._stops[nearest]
        starts = np.where(nearest > 0, self._stops[nearest - 1], 0)
        enough = min(max(wanted, _SHARE * len(self.rows)), len(self.rows))
        taken = int(np.searchsorted(np.cumsum(stops - starts), enough)) + 1
        ranges = np.stack([starts[:taken], stops[:taken]], axis=1)
        return ranges, torch.cat([self.rows[first:behind] for first, behind in ranges])


def _roots(histograms: Tensor) -> NDArray[np.float32]:
    return histograms.sqrt().flatten(1).numpy()
