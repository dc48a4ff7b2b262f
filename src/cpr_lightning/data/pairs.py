"""Training pairs: a query with a synthetic defect (or a real one), and one of its K nearest references."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from cpr_lightning.data.augmentation import Augmentation
from cpr_lightning.data.extension import ExtendedAnomalies, RealDefects
from cpr_lightning.data.synthesis import SyntheticDefects

_REAL = 1  # names the stream of what real defects add to a pair; not 0, which would give the pair's own stream


@dataclass
class Pair:
    """A query and a reference; in a batch every tensor has a leading B.

    Attributes:
        query: (H, W, 3) uint8, with a defect or without.
        reference: (H, W, 3) uint8.
        defect: (H, W) bool, where the query is defective.
        query_foreground: (h, w) float32 sharpened foreground of the query's clean image (of the query itself, if it is
            a real defective image); (0, 0) for textures.
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


@dataclass(frozen=True)
class Supervision:
    """What real defective images add to the pairs of the supervised scenario.

    Attributes:
        defects: N real defective images.
        neighbors: (N, K) int64, the references nearest to each.
        foreground: (N, h, w) float32 sharpened foreground maps, or None.
        shown_probability: share of queries that are one of the images, as it is.
        extension: pastes their defects on queries, whatever these show.
    """

    defects: RealDefects
    neighbors: Tensor
    foreground: Tensor | None
    shown_probability: float
    extension: ExtendedAnomalies


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
        supervision: real defective images to learn from, or None.
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
        supervision: Supervision | None = None,
    ) -> None:
        self.load = load
        self.neighbors = neighbors
        self.defects = defects
        self.augmentation = augmentation
        self.foreground = foreground
        self.seed = seed
        self.length = length
        self.supervision = supervision

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
        real = self.supervision
        # A stream of its own: all that has nothing to do with real defects is drawn as in the unsupervised scenario.
        own = np.random.default_rng((self.seed, epoch, row + 1, _REAL))
        if real is not None and own.random() < real.shown_probability:
            shown = int(own.integers(len(real.defects)))
            reference_row = int(rng.choice(real.neighbors[shown].numpy()))
            query, defect = real.defects.images[shown], real.defects.masks[shown]
            query_foreground = _map(real.foreground, shown)
        else:
            reference_row = int(rng.choice(self.neighbors[row].numpy()))
            query_foreground = _map(self.foreground, row)
            where = None if self.foreground is None else query_foreground.numpy()
            query, defect = self.defects(self.load(row), rng, where)
        if real is not None:
            query, defect = real.extension(query, defect, own)
        return Pair(
            query=torch.from_numpy(self.augmentation(query, rng)),
            reference=torch.from_numpy(self.augmentation(self.load(reference_row), rng)),
            defect=torch.from_numpy(defect),
            query_foreground=query_foreground,
            reference_foreground=_map(self.foreground, reference_row),
            number=torch.tensor(number),
        )


def _map(maps: Tensor | None, row: int) -> Tensor:
    return torch.empty(0, 0) if maps is None else maps[row]


class Onward(Sampler[int]):
    """Numbers from ``start`` to ``stop``: a resumed training goes on with the pair at which it was interrupted.

    Args:
        start: a multiple of ``batch``.
        stop: likewise.
        batch: numbers in a batch.
        rank: which of the processes this is that share every batch; it takes the rank-th part of it.
        processes: how many they are; ``batch`` is a multiple of it.
    """

    def __init__(self, start: int, stop: int, batch: int = 1, *, rank: int = 0, processes: int = 1) -> None:
        self.batches = range(start, stop, batch)
        self.share = batch // processes
        self.rank = rank

    def __iter__(self) -> Iterator[int]:
        """The numbers in order."""
        for first in self.batches:
            own = first + self.rank * self.share
            yield from range(own, own + self.share)

    def __len__(self) -> int:
        """How many there are from the very start: Lightning counts those before ``start`` as already fetched."""
        return self.batches.stop // self.batches.step * self.share
