"""The reference bank: one FAISS index per scale that holds every reference's local features.

FAISS has no search restricted to a place, and decoding whole images out of it is slow; but its indexes store the codes
of the vectors row after row, so a view of that storage *is* the array (references, H, W, code) that the windowed search
reads. An index read from disk is memory-mapped: only the pages of the K neighbors are ever touched.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cpr_lightning.choices import Codec
from cpr_lightning.errors import RunError, SettingsError, first_line
from cpr_lightning.files import replaced
from cpr_lightning.retrieval.bank_file import read_scale, write_scale
from cpr_lightning.retrieval.codecs import empty_index, learn, stored_scale
from cpr_lightning.retrieval.resident import RESIDENT_BYTES, Resident
from cpr_lightning.retrieval.stored import Stored


class ReferenceBank:
    """Local features of all references, one FAISS index per scale.

    Args:
        shapes: (H, W, D) of each scale.
        codec: how a number is stored.
        capacity: references to make room for (the storage then never has to be copied to grow).

    Raises:
        SettingsError: the codec cannot store vectors of D numbers.
    """

    def __init__(self, shapes: Sequence[tuple[int, int, int]], codec: Codec, capacity: int = 0) -> None:
        self.shapes = [(int(height), int(width), int(dim)) for height, width, dim in shapes]
        self.codec = codec
        self.device = torch.device("cpu")
        self.indexes = [empty_index(dim, codec) for _, _, dim in self.shapes]
        self._stored: list[Stored] | None = None
        self._resident: Resident | None = None  # of a bank that is mapped from a file
        for index, (height, width, _) in zip(self.indexes, self.shapes, strict=True):
            index.codes.resize(capacity * height * width * index.code_size)
            index.codes.resize(0)  # keeps the room

    def __len__(self) -> int:
        """Number of reference images."""
        height, width, _ = self.shapes[0]
        return self.indexes[0].ntotal // (height * width)

    @property
    def needs_training(self) -> bool:
        """Whether :meth:`train` must come before :meth:`add`: a codec that learns (sq8, pq) has not yet."""
        return not all(index.is_trained for index in self.indexes)

    def train(self, sample: Sequence[Tensor]) -> None:
        """Learn the codec from some references. ``sample``: like the features of :meth:`add`; 16 images are enough.

        What was learned stays for good: it stores all that is added later, also to a bank that was read from disk.

        Raises:
            SettingsError: the sample has too few feature cells for the codec.
        """
        if not self.needs_training:
            raise ValueError(f"A bank with codec {self.codec.value} has nothing (more) to learn.")
        for index, vectors in zip(self.indexes, self._vectors(sample), strict=True):
            learn(index, self.codec, vectors)
        self._stored = None

    def add(self, features: Sequence[Tensor]) -> None:
        """Append images. ``features``: per scale (B, D, H, W), unit length over D. What is there stays as it is."""
        if self._resident is not None:
            raise ValueError("This bank is mapped from its file and cannot grow; load it with writable=True.")
        if self.needs_training:
            raise ValueError(f"A bank with codec {self.codec.value} must be trained before anything is added.")
        for index, vectors in zip(self.indexes, self._vectors(features), strict=True):
            index.add(vectors)
        self._stored = None

    def stored(self) -> list[Stored]:
        """Per scale the storage itself, or its copy on the device of :meth:`place`. Cheap: kept until the bank changes.

        It keeps the storage alive, but not where it is: it is of no use once something was added. Never write to it.
        """
        if self._stored is None:
            grids = [(height, width) for height, width, _ in self.shapes]
            scales = [stored_scale(index, self.codec, grid) for index, grid in zip(self.indexes, grids, strict=True)]
            self._stored = scales if self.device.type == "cpu" else self._copied(scales)
        return self._stored

    def place(self, device: torch.device | str) -> None:
        """Hold codes and tables on ``device`` for its kernel, in the codec's own type; on the CPU they lie in FAISS.

        Raises:
            SettingsError: the device is not there, or the bank does not fit on it.
        """
        self.device = torch.device(device)
        self._stored = None
        self.stored()

    def touch(self, rows: Sequence[int] | Tensor) -> None:
        """Say which references, of any shape, are about to be read, once per query.

        A bank mapped from a file then lets go of its pages whenever too many were read; see :mod:`.resident`. For any
        other bank, and for one on another device, this does nothing.
        """
        if self._resident is None or self.device.type != "cpu":
            return
        self._resident.touch(rows.flatten().tolist() if isinstance(rows, Tensor) else rows)

    def save(self, folder: Path) -> None:
        """Write ``scale1.faiss``, ``scale2.faiss``, … to ``folder``. What stood there stays until all are complete."""
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as files:
            for path, index in zip(self._paths(folder, len(self.indexes)), self.indexes, strict=True):
                write_scale(index, files.enter_context(replaced(path)), path)

    @classmethod
    def load(
        cls,
        folder: Path,
        shapes: Sequence[tuple[int, int, int]],
        codec: Codec,
        *,
        writable: bool = False,
        resident_bytes: int = RESIDENT_BYTES,
    ) -> "ReferenceBank":
        """Map the indexes of ``folder`` into memory.

        Args:
            folder: that :meth:`save` wrote.
            shapes: (H, W, D) of each scale.
            codec: that it was saved with.
            writable: read the files whole, so that images can be added. The files change with :meth:`save` alone.
            resident_bytes: a mapped bank lets go of its pages when about so many bytes of references were touched.

        Raises:
            RunError: a file is missing, cut short, or holds vectors of another size or codec.
        """
        bank = cls(shapes, codec)
        paths = cls._paths(folder, len(bank.shapes))
        bank.indexes = [
            read_scale(path, shape, codec, writable) for path, shape in zip(paths, bank.shapes, strict=True)
        ]
        counts = {index.ntotal // (shape[0] * shape[1]) for index, shape in zip(bank.indexes, bank.shapes, strict=True)}
        if len(counts) != 1:
            raise RunError(f"The scales in {folder} hold different numbers of references: {sorted(counts)}.")
        # `is_owned` is FAISS's word for memory that is not a file's.
        if len(bank) and not any(index.codes.is_owned for index in bank.indexes):
            addresses = [int(index.codes.data()) for index in bank.indexes]
            sizes = [
                height * width * index.code_size
                for index, (height, width, _) in zip(bank.indexes, bank.shapes, strict=True)
            ]
            bank._resident = Resident(addresses, sizes, len(bank), resident_bytes)
        return bank

    def _vectors(self, features: Sequence[Tensor]) -> list[NDArray[np.float32]]:
        """Per scale (B, D, H, W) → (B · H · W, D). All are checked before any is used: the scales stay together."""
        vectors = []
        for shape, scale in zip(self.shapes, features, strict=True):
            cells = scale.movedim(1, -1)
            if tuple(cells.shape[1:]) != shape:
                raise ValueError(f"The bank holds (H, W, D) = {shape} but was given {tuple(cells.shape[1:])}.")
            if len(cells) != len(features[0]):
                raise ValueError(f"Scales of {len(features[0])} and of {len(cells)} images were given.")
            vectors.append(np.ascontiguousarray(cells.reshape(-1, shape[2]).float().cpu().numpy()))
        return vectors

    def _copied(self, scales: list[Stored]) -> list[Stored]:
        try:
            copies = [scale.to(self.device) for scale in scales]
        except (AssertionError, RuntimeError) as error:  # torch built without CUDA; no GPU, or not enough memory on it
            size = sum(scale.codes.nbytes for scale in scales) / 2**30
            raise SettingsError(
                f"bank.device={self.device}: the bank of {size:.1f} GiB cannot be held there ({first_line(error)}). "
                "Take bank.device=cpu, or a smaller bank.codec."
            ) from error
        if self._resident is not None:
            self._resident.release()
        return copies

    @staticmethod
    def _paths(folder: Path, scales: int) -> list[Path]:
        return [folder / f"scale{number}.faiss" for number in range(1, scales + 1)]
