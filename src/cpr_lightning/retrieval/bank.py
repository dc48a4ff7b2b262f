"""The reference bank: one FAISS index per scale that holds every reference's local features.

FAISS has no search restricted to a place, and decoding whole images out of it is slow; but its flat and fp16 indexes
store the vectors row after row, so a view of that storage *is* the array (references, H, W, D) that the windowed search
reads. An index read from disk is memory-mapped: only the pages of the K neighbors are ever touched.
"""

from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
import torch
from torch import Tensor

from cpr_lightning.errors import RunError, SettingsError
from cpr_lightning.files import replaced
from cpr_lightning.settings import Codec

_DTYPES = {Codec.flat: np.float32, Codec.fp16: np.float16}


class ReferenceBank:
    """Local features of all references, one FAISS index per scale.

    Args:
        shapes: (H, W, D) of each scale.
        codec: how a number is stored.
        capacity: references to make room for (the storage then never has to be copied to grow).
    """

    def __init__(self, shapes: Sequence[tuple[int, int, int]], codec: Codec, capacity: int = 0) -> None:
        self.shapes = [tuple(int(size) for size in shape) for shape in shapes]
        self.codec = codec
        self.indexes = [_empty_index(shape[2], codec) for shape in self.shapes]
        for index, (height, width, _) in zip(self.indexes, self.shapes, strict=True):
            index.codes.resize(capacity * height * width * index.code_size)
            index.codes.resize(0)  # keeps the room

    def __len__(self) -> int:
        """Number of reference images."""
        height, width, _ = self.shapes[0]
        return self.indexes[0].ntotal // (height * width)

    def add(self, features: Sequence[Tensor]) -> None:
        """Append images. ``features``: per scale (B, D, H, W), unit length over D."""
        for index, shape, scale in zip(self.indexes, self.shapes, features, strict=True):
            vectors = scale.movedim(1, -1)
            if tuple(vectors.shape[1:]) != shape:
                raise ValueError(f"The bank holds (H, W, D) = {shape} but was given {tuple(vectors.shape[1:])}.")
            index.add(np.ascontiguousarray(vectors.reshape(-1, shape[2]).float().cpu().numpy()))

    def views(self) -> list[Tensor]:
        """Per scale (N, H, W, D) in the bank's own type, without a copy. Never write to it; it lives with the bank."""
        views = []
        for index, (height, width, dim) in zip(self.indexes, self.shapes, strict=True):
            # `codes` is read on the index itself: an index that FAISS mapped from disk has it too.
            raw = faiss.rev_swig_ptr(index.codes.data(), index.ntotal * index.code_size)
            array = raw.view(_DTYPES[self.codec]).reshape(len(self), height, width, dim)
            views.append(torch.from_numpy(array))
        return views

    def save(self, folder: Path) -> None:
        """Write ``scale1.faiss``, ``scale2.faiss``, … to ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        for path, index in zip(self._paths(folder, len(self.indexes)), self.indexes, strict=True):
            with replaced(path) as temporary:
                try:
                    faiss.write_index(index, str(temporary))
                except RuntimeError as error:  # FAISS's own exception for every failed write, a full disk among them
                    raise OSError(f"{path} could not be written; the disk may have no space left") from error

    @classmethod
    def load(cls, folder: Path, shapes: Sequence[tuple[int, int, int]], codec: Codec) -> "ReferenceBank":
        """Map the indexes of ``folder`` into memory.

        Raises:
            RunError: a file is missing, cut short, or holds vectors of another size or codec.
        """
        bank = cls(shapes, codec)
        bank.indexes = []
        counts = set()
        for path, (height, width, dim) in zip(cls._paths(folder, len(shapes)), shapes, strict=True):
            if not path.is_file():
                raise RunError(f"{path} is missing: the run is incomplete. Train it again, or finish it with resume=.")
            try:
                index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
            except RuntimeError as error:
                raise RunError(
                    f"{path} cannot be read as a FAISS index; it may have been cut short. Copy it again, or train the "
                    "run again."
                ) from error
            expected = _empty_index(dim, codec)
            if not isinstance(index, type(expected)) or (index.d, index.code_size) != (dim, expected.code_size):
                raise RunError(
                    f"{path} holds {index.d} numbers a vector in a {type(index).__name__}, but the run's config.yaml "
                    f"says {dim} as {codec.value}. The file belongs to another run."
                )
            if index.ntotal % (height * width) or index.codes.size() != index.ntotal * index.code_size:
                raise RunError(f"{path} does not hold whole images of {height} × {width} cells; train the run again.")
            counts.add(index.ntotal // (height * width))
            bank.indexes.append(index)
        if len(counts) != 1:
            raise RunError(f"The scales in {folder} hold different numbers of references: {sorted(counts)}.")
        return bank

    @staticmethod
    def _paths(folder: Path, scales: int) -> list[Path]:
        return [folder / f"scale{number}.faiss" for number in range(1, scales + 1)]


def _empty_index(dim: int, codec: Codec) -> "faiss.IndexFlatCodes":
    if codec is Codec.flat:
        return faiss.IndexFlatIP(dim)
    if codec is Codec.fp16:
        return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    raise SettingsError(f"bank.codec={codec} is unknown; choose one of {', '.join(item.value for item in Codec)}.")
