"""Algorithm 2, the only scoring path: test, predict, benchmark and export all call :class:`CascadePatchRetrieval`."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cpr_lightning.model.foreground import Foreground
from cpr_lightning.model.global_retrieval import GlobalRetrieval
from cpr_lightning.model.network import LocalFeatures, NetworkPart
from cpr_lightning.model.postprocess import image_score, postprocess, resize
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.retrieval.window import match_window
from cpr_lightning.settings import ScoringSettings


class CascadeOutput(NamedTuple):
    """What the cascade says of a batch of images."""

    anomaly_map: Tensor  # (B, H, W) float32, ≥ 0, larger = more anomalous
    score: Tensor  # (B,) float32, sum of the T largest pixels
    neighbors: Tensor  # (B, K) int64, rows of the references, nearest first


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
    ) -> None:
        super().__init__()
        if (foreground is None) != (reference_foreground is None):
            raise ValueError("The foreground branch and the references' foreground maps go together.")
        self.network = NetworkPart(features, retrieval.codebook, foreground)
        self.retrieval = retrieval
        self.bank = bank
        self.register_buffer("reference_foreground", reference_foreground)
        self.neighbors = neighbors
        self.windows = list(windows)
        self.scoring = scoring
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
            neighbors: (B, K) references to use in place of the cascade's own targeting, or None.
            excluded: (B,) a reference that must not be used (a reference's own row, when it is the query), or None.
        """
        described = self.network.named(self.run_network(images))
        rows: Tensor = self.retrieval(described.codes, self.neighbors, excluded) if neighbors is None else neighbors
        distances = self.match(described.local, rows)
        foreground = self.joint_foreground(described.foreground, rows, images.shape[1:3])
        anomaly_map = postprocess(distances, foreground, images.shape[1:3], self.scoring.blur_sigma)
        return CascadeOutput(anomaly_map, image_score(anomaly_map, self.scoring.top_pixels), rows)

    def match(self, local: Sequence[Tensor], neighbors: Tensor) -> list[Tensor]:
        """Per scale (B, h, w, D) → (B, h, w): the distance of each cell to its match on the K references (B, K)."""
        self.bank.touch(neighbors)
        stored = self.bank.stored()
        if stored[0].codes.device != local[0].device:
            rows = neighbors.flatten()
            stored = [references.to(local[0].device, rows) for references in stored]
            neighbors = torch.arange(len(rows), device=local[0].device).view(neighbors.shape)
        scales = zip(local, stored, self.windows, strict=True)
        return [match_window(query, references, neighbors, window).distance for query, references, window in scales]

    def joint_foreground(self, own: Tensor | None, neighbors: Tensor, size: Sequence[int]) -> Tensor | None:
        """F* (eq. 13): the maximum of the query's map (B, h, w) and its K references', (B, H, W) at image size."""
        if own is None or self.reference_foreground is None:
            return None
        maps = torch.cat([own.unsqueeze(1), self.reference_foreground[neighbors]], dim=1)
        return resize(maps, size).amax(dim=1)
