"""What the FAISS index of each codec is, what it learns, and how its storage is read where it lies."""

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from cpr_lightning.choices import Codec
from cpr_lightning.errors import SettingsError
from cpr_lightning.retrieval.stored import Stored

PART = 4  # numbers that one byte of pq stands for
CENTROIDS = 256  # what a byte can name
# k-means of pq: FAISS's own least number of vectors, and fewer rounds than its 25. More of both takes up to ten times
# as long and lowers the error of random vectors by 2 %.
_PQ_VECTORS = 39 * CENTROIDS
_PQ_ROUNDS = 10
# sq8 learns each number's range from some references and clips later ones to it. This share of the range on either side
# raises the usual error by a sixth and lowers the largest, where it matters, to a half or a third (MVTec grid
# and hazelnut, ResNet-18 features, learned from 16 references).
_SQ_MARGIN = 0.1

_NUMPY = {Codec.flat: np.float32, Codec.fp16: np.float16, Codec.sq8: np.uint8, Codec.pq: np.uint8}


def empty_index(dim: int, codec: Codec) -> "faiss.IndexFlatCodes":
    """An index for vectors of ``dim`` numbers, not yet trained where the codec needs it.

    Raises:
        SettingsError: the codec is unknown, or cannot store vectors of this length.
    """
    if codec is Codec.flat:
        return faiss.IndexFlatIP(dim)
    if codec is Codec.fp16:
        return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    if codec is Codec.sq8:
        index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        index.sq.rangestat_arg = _SQ_MARGIN  # of its statistic, minimum and maximum
        return index
    if codec is Codec.pq:
        if dim % PART:
            raise SettingsError(
                f"bank.codec=pq stores {PART} numbers in a byte, so a descriptor must have a multiple of {PART} of "
                f"them, not {dim}. Change branch.dim (or the backbone, where branch.enabled=false), or take "
                "bank.codec=sq8."
            )
        index = faiss.IndexPQ(dim, dim // PART, 8, faiss.METRIC_INNER_PRODUCT)
        index.pq.cp.niter = _PQ_ROUNDS
        index.pq.cp.min_points_per_centroid = 1  # below 39 FAISS writes warnings to stderr; `learn` has its own limit
        return index
    raise SettingsError(f"bank.codec={codec} is unknown; choose one of {', '.join(item.value for item in Codec)}.")


def check_vectors(codec: Codec, vectors: int) -> None:
    """Refuse to let a codec learn from so many vectors, a number, if they are too few (:class:`SettingsError`)."""
    least = {Codec.sq8: 1, Codec.pq: CENTROIDS}.get(codec, 0)
    if vectors < least:
        raise SettingsError(
            f"bank.codec={codec.value} learns from the references and needs at least {least} feature cells for it, but "
            f"the references given have {vectors}. Add references, or take bank.codec=fp16, which learns nothing."
        )


def learn(index: "faiss.IndexFlatCodes", codec: Codec, vectors: NDArray[np.float32]) -> None:
    """Learn the codec's tables from ``vectors`` (n, D). The same vectors give the same tables.

    Raises:
        SettingsError: there are too few vectors.
    """
    check_vectors(codec, len(vectors))
    if codec is Codec.pq and len(vectors) > _PQ_VECTORS:
        vectors = vectors[np.linspace(0, len(vectors) - 1, _PQ_VECTORS).astype(np.int64)]
    index.train(np.ascontiguousarray(vectors))


def codec_of(index: "faiss.Index") -> Codec | None:
    """The codec of an index that was read from a file; None if it is none of ours or was saved untrained."""
    if not index.is_trained:
        return None
    if isinstance(index, faiss.IndexFlatIP):
        return Codec.flat
    if isinstance(index, faiss.IndexScalarQuantizer):
        kinds = {faiss.ScalarQuantizer.QT_fp16: Codec.fp16, faiss.ScalarQuantizer.QT_8bit: Codec.sq8}
        return kinds.get(index.sq.qtype)
    if isinstance(index, faiss.IndexPQ) and index.pq.nbits == 8 and index.d == index.pq.M * PART:
        return Codec.pq
    return None


class _Codes:
    """The code storage of an index as bytes, for ``numpy.asarray``: what is made of it keeps the index alive."""

    def __init__(self, index: "faiss.IndexFlatCodes") -> None:
        self.index = index
        # `codes` is read on the index itself: an index that FAISS mapped from disk has it too.
        where = int(index.codes.data()) if index.ntotal else 1  # NumPy asks for an address, also of nothing
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": (index.ntotal * index.code_size,),
            "data": (where, False),
        }


def stored_scale(index: "faiss.IndexFlatCodes", codec: Codec, grid: tuple[int, int]) -> Stored:
    """The storage of an index as :class:`.Stored`: codes without a copy, tables (at most D kB) copied."""
    raw = np.asarray(_Codes(index))
    images = index.ntotal // (grid[0] * grid[1])
    array = raw.view(_NUMPY[codec])
    length = index.code_size // array.itemsize
    codes = torch.from_numpy(array.reshape(images, *grid, length))
    if codec is Codec.sq8 and isinstance(index, faiss.IndexScalarQuantizer) and index.is_trained:
        # FAISS decodes to smallest + (code + ½) / 255 · range.
        smallest, extent = faiss.vector_to_array(index.sq.trained).reshape(2, index.d).astype(np.float64)
        scale, offset = extent / 255, smallest + extent / 510
        return Stored(codes, codec, index.d, *(torch.from_numpy(each).float() for each in (scale, offset)))
    if isinstance(index, faiss.IndexPQ):
        centroids = faiss.vector_to_array(index.pq.centroids).reshape(index.pq.M, CENTROIDS, PART)
        return Stored(codes, codec, index.d, codebook=torch.from_numpy(centroids))
    return Stored(codes, codec, index.d)
