"""Algorithm 2, the only scoring path: test, predict, benchmark and export all call :class:`CascadePatchRetrieval`."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cpr_lightning.choices import Search
from cpr_lightning.model.foreground import Foreground
from cpr_lightning.model.global_retrieval import GlobalRetrieval
from cpr_lightning.model.network import LocalFeatures, NetworkPart
from cpr_lightning.model.postprocess import image_score, postprocess, resize
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.retrieval.whole_bank import match_anywhere
from cpr_lightning.retrieval.window import match_window
from cpr_lightning.settings import ScoringSettings

_AT_ONCE = 32  # references, where all are consulted: memory must not grow with their number


class CascadeOutput(NamedTuple):
    """What the cascade says of a batch of images."""

    anomaly_map: Tensor  # (B, H, W) float32, ≥ 0, larger = more anomalous
    score: Tensor  # (B,) float32, sum of the T largest pixels
    neighbors: Tensor  # (B, K) int64, rows of the references, nearest first; K = 0 where none are targeted


class CascadePatchRetrieval(nn.Module):
    """Target the K nearest references, shoot at the same place on them, and score what remains unmatched.

    Args:
        features: backbone and local branch.
        retrieval: ranks the references.
        bank: the references' descriptors.
        foreground: the foreground branch, or None.
        reference_foreground: (R, h, w) raw foreground of the references; goes with ``foreground``.
        neighbors: K.
        windows: cells on a side, per scale.
        scoring: blur and T.
        search: what a query is matched with.
        coreset: per scale the places of ``search=coreset`` (:mod:`~cpr_lightning.retrieval.whole_bank`); else None.

    Attributes:
        network: the network part.
        run_network: what computes it: the network itself, or a runtime's version of it (:mod:`cpr_lightning.runtime`).
    """

    reference_foreground: Tensor | None

    def __init__(
        self,
        features: LocalFeatures,
        retrieval: GlobalRetrieval,
        bank: ReferenceBank,
        foreground: Foreground | None,
        reference_foreground: Tensor | None,
        *,
        neighbors: int,
        windows: Sequence[int],
        scoring: ScoringSettings,
        search: Search = Search.targeted,
        coreset: Sequence[Tensor] | None = None,
    ) -> None:
        super().__init__()
        if (foreground is None) != (reference_foreground is None):
            raise ValueError("The foreground branch and the references' foreground maps go together.")
        if (search is Search.coreset) != (coreset is not None):
            raise ValueError("search=coreset and a coreset go together.")
        self.network = NetworkPart(features, retrieval.codebook, foreground)
        self.retrieval = retrieval
        self.bank = bank
        self.register_buffer("reference_foreground", reference_foreground)
        self.neighbors = neighbors
        self.windows = list(windows)
        self.scoring = scoring
        self.search = search
        self.coreset = coreset
        self.run_network: Callable[[Tensor], Sequence[Tensor]] = self.network.forward
        self.eval()

    @property
    def features(self) -> LocalFeatures:
        """Backbone and local branch: they fill the bank too."""
        return self.network.features

    @torch.inference_mode()
    def forward(
        self, images: Tensor, *, neighbors: Tensor | None = None, excluded: Tensor | None = None
    ) -> CascadeOutput:
        """Score images.

        Args:
            images: (B, H, W, 3) uint8, RGB, all of the size the run was trained with.
            neighbors: (B, K) references to consult in place of the cascade's own, or None.
            excluded: (B,) a reference that must not be used (a reference's own row, when it is the query), or None.
        """
        described = self.network.named(self.run_network(images))
        rows = self.consulted(described.codes, excluded) if neighbors is None else neighbors
        distances = self.match(described.local, rows, excluded)
        foreground = self.joint_foreground(described.foreground, rows, images.shape[1:3])
        anomaly_map = postprocess(distances, foreground, images.shape[1:3], self.scoring.blur_sigma)
        targeted = rows if self.search is Search.targeted else rows[:, :0]
        return CascadeOutput(anomaly_map, image_score(anomaly_map, self.scoring.top_pixels), targeted)

    def consulted(self, codes: Tensor, excluded: Tensor | None = None) -> Tensor:
        """(B, K) rows of the references that images with these words (B, h, w) are matched with, and that their
        foreground counts for: the nearest ones first; all, in no order of nearness (``search=window``); or none in
        particular (``search=coreset``).
        """
        if self.search is Search.targeted:
            return self.retrieval(codes, self.neighbors, excluded)
        rows = torch.arange(len(self.bank), device=codes.device).repeat(len(codes), 1)
        if self.search is Search.coreset:
            return rows[:, :0]
        return rows if excluded is None else rows[rows != excluded.view(-1, 1)].view(len(codes), -1)

    def match(self, local: Sequence[Tensor], neighbors: Tensor, excluded: Tensor | None = None) -> list[Tensor]:
        """Per scale (B, h, w, D) → (B, h, w): the distance of each cell to its match on the references (B, K); or, with
        ``search=coreset``, in the whole bank without the excluded references (B,).
        """
        if self.coreset is not None:
            self.bank.touch(range(len(self.bank)))
            scales = zip(local, self.bank.stored(), self.coreset, strict=True)
            return [match_anywhere(query, references, places, excluded) for query, references, places in scales]
        matched = [self._match(local, some) for some in neighbors.split(_AT_ONCE, dim=1)]
        return [reduce(torch.minimum, scale) for scale in zip(*matched, strict=True)]

    def _match(self, local: Sequence[Tensor], neighbors: Tensor) -> list[Tensor]:
        self.bank.touch(neighbors)
        stored = self.bank.stored()
        if stored[0].codes.device != local[0].device:
            rows = neighbors.flatten()
            stored = [references.to(local[0].device, rows) for references in stored]
            neighbors = torch.arange(len(rows), device=local[0].device).view(neighbors.shape)
        scales = zip(local, stored, self.windows, strict=True)
        return [
            match_window(query, references, neighbors, window, places=False).distance
            for query, references, window in scales
        ]

    def joint_foreground(self, own: Tensor | None, neighbors: Tensor, size: Sequence[int]) -> Tensor | None:
        """F* (eq. 13): the maximum of the query's map (B, h, w) and its K references', (B, H, W) at image size."""
        if own is None or self.reference_foreground is None:
            return None
        parts = [self.reference_foreground[some] for some in neighbors.split(_AT_ONCE, dim=1)]
        largest = [resize(torch.cat([own.unsqueeze(1), part], dim=1), size).amax(dim=1) for part in parts]
        return reduce(torch.maximum, largest)
