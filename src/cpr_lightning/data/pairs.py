"""Training pairs: a query with a synthetic defect, and one of its K nearest references."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from cpr_lightning.data.augmentation import Augmentation
from cpr_lightning.data.synthesis import SyntheticDefects


@dataclass
class Pair:
    """A query and a reference; in a batch every tensor has a leading B.

    Attributes:
        query: (H, W, 3) uint8, with a synthetic defect or without.
        reference: (H, W, 3) uint8.
        defect: (H, W) bool, where the query is defective.
        query_foreground: (h, w) float32 sharpened foreground of the query's clean image; (0, 0) for textures.
        reference_foreground: (h, w) float32, likewise.
        number: () int64, which pair of the training run it is.
    """

    query: Tensor
    reference: Tensor
    defect: Tensor
    query_foreground: Tensor
    reference_foreground: Tensor
    number: Tensor

    @property
    def has_foreground(self) -> bool:
        """Whether foreground maps come with the pair."""
        return self.query_foreground.numel() > 0

    def pin_memory(self) -> "Pair":
        """Called by the loader, for fast copies to a GPU."""
        return Pair(**{field.name: getattr(self, field.name).pin_memory() for field in fields(self)})


def collate(pairs: Sequence[Pair]) -> Pair:
    """Stack pairs to a batch."""
    return Pair(**{field.name: torch.stack([getattr(pair, field.name) for pair in pairs]) for field in fields(Pair)})


class PairDataset(Dataset[Pair]):
    """Pair number i of a training run, drawn on the fly; the same seed and i always give the same pair.

    An epoch is one walk over all references in an order of its own; number i is place ``i mod R`` of epoch ``i // R``.

    Args:
        load: reads a reference by its row as (H, W, 3) uint8; the query and its reference come from here.
        neighbors: (R, K) int64, each reference's nearest others.
        defects: draws synthetic defects.
        augmentation: photometric changes, of query and reference independently.
        foreground: (R, h, w) float32 sharpened foreground maps, or None.
        seed: of the run.
        length: pairs in the whole training.
    """

    def __init__(
        self,
        load: Callable[[int], NDArray[np.uint8]],
        neighbors: Tensor,
        defects: SyntheticDefects,
        augmentation: Augmentation,
        foreground: Tensor | None,
        seed: int,
        length: int,
    ) -> None:
        self.load = load
        self.neighbors = neighbors
        self.defects = defects
        self.augmentation = augmentation
        self.foreground = foreground
        self.seed = seed
        self.length = length

    def __len__(self) -> int:
        """Pairs in the whole training."""
        return self.length

    def __getitem__(self, number: int) -> Pair:
        """Draw pair ``number``."""
        references = len(self.neighbors)
        epoch, place = divmod(number, references)
        # Streams of their own for order and pairs, so that neither depends on how often the other was drawn.
        row = int(np.random.default_rng((self.seed, epoch)).permutation(references)[place])
        rng = np.random.default_rng((self.seed, epoch, row + 1))
        reference_row = int(rng.choice(self.neighbors[row].numpy()))
        clean = self.load(row)
        query_foreground = self._foreground(row)
        where = None if self.foreground is None else query_foreground.numpy()
        query, defect = self.defects(clean, rng, where)
        return Pair(
            query=torch.from_numpy(self.augmentation(query, rng)),
            reference=torch.from_numpy(self.augmentation(self.load(reference_row), rng)),
            defect=torch.from_numpy(defect),
            query_foreground=query_foreground,
            reference_foreground=self._foreground(reference_row),
            number=torch.tensor(number),
        )

    def _foreground(self, row: int) -> Tensor:
        return torch.empty(0, 0) if self.foreground is None else self.foreground[row]


class Onward(Sampler[int]):
    """Numbers from ``start`` to ``stop``: a resumed training goes on with the pair at which it was interrupted."""

    def __init__(self, start: int, stop: int) -> None:
        self.numbers = range(start, stop)

    def __iter__(self) -> Iterator[int]:
        """The numbers in order."""
        return iter(self.numbers)

    def __len__(self) -> int:
        """How many there are from the very start: Lightning counts those before ``start`` as already fetched."""
        return self.numbers.stop
