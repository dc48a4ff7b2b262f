"""Algorithm 2, the only scoring path: test, predict, benchmark and export all call :class:`CascadePatchRetrieval`."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.blur import gaussian_blur
from cpr_lightning.model.foreground import Foreground
from cpr_lightning.model.global_retrieval import GlobalRetrieval
from cpr_lightning.model.local_branch import LocalBranch
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.retrieval.window import match_window
from cpr_lightning.settings import ScoringSettings


class CascadeOutput(NamedTuple):
    """What the cascade says of a batch of images."""

    anomaly_map: Tensor  # (B, H, W) float32, ≥ 0, larger = more anomalous
    score: Tensor  # (B,) float32, sum of the T largest pixels
    neighbors: Tensor  # (B, K) int64, rows of the references, nearest first


class LocalFeatures(nn.Module):
    """Images → descriptors of unit length, per scale. Fills the bank and describes the query: the same features.

    Args:
        backbone: frozen.
        branch: the trained local branch, or None to match raw features (ablation no_local).
    """

    def __init__(self, backbone: Backbone, branch: LocalBranch | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.branch = branch

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, H, W, 3) uint8 → raw first-scale features (B, C, h, w); per scale (B, D, h, w) of unit length."""
        raw = self.backbone(images)
        return raw[0], self.describe(raw)

    def describe(self, raw: Sequence[Tensor]) -> list[Tensor]:
        """Raw features → descriptors of unit length, per scale."""
        if self.branch is None:
            return [F.normalize(scale, dim=1) for scale in raw]
        return self.branch(raw)


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
        self.features = features
        self.retrieval = retrieval
        self.bank = bank
        self.foreground = foreground
        self.register_buffer("reference_foreground", reference_foreground)
        self.neighbors = neighbors
        self.windows = list(windows)
        self.scoring = scoring
        self.eval()

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
        raw, local = self.features(images)
        rows: Tensor = self.retrieval(raw, self.neighbors, excluded) if neighbors is None else neighbors
        distances = self.match(local, rows)
        foreground = self.joint_foreground(raw, rows, images.shape[1:3])
        anomaly_map = postprocess(distances, foreground, images.shape[1:3], self.scoring.blur_sigma)
        return CascadeOutput(anomaly_map, image_score(anomaly_map, self.scoring.top_pixels), rows)

    def match(self, local: Sequence[Tensor], neighbors: Tensor) -> list[Tensor]:
        """Per scale (B, h, w): the distance of each cell to its match on the K references."""
        distances = []
        for scale, references, window in zip(local, self.bank.views(), self.windows, strict=True):
            cells = scale.movedim(1, -1).contiguous()
            matches = [
                match_window(query, references, rows, window).distance
                for query, rows in zip(cells, neighbors, strict=True)
            ]
            distances.append(torch.stack(matches))
        return distances

    def joint_foreground(self, raw: Tensor, neighbors: Tensor, size: Sequence[int]) -> Tensor | None:
        """F* (eq. 13): the maximum of the query's and its K references' maps, (B, H, W) at image size, or None."""
        if self.foreground is None or self.reference_foreground is None:
            return None
        maps = torch.cat([self.foreground(raw).unsqueeze(1), self.reference_foreground[neighbors]], dim=1)
        return resize(maps, size).amax(dim=1)


def postprocess(
    distances: Sequence[Tensor], foreground: Tensor | None, size: Sequence[int], blur_sigma: float
) -> Tensor:
    """Distances of all scales → anomaly map (Algorithm 2, lines 6–9).

    Args:
        distances: per scale (B, h, w), finest first.
        foreground: F*, (B, H, W) in [0, 1], or None.
        size: (H, W).
        blur_sigma: pixels; the kernel spans ±4σ (33×33 at σ = 4).

    Returns:
        (B, H, W).
    """
    finest = distances[0].shape[1:]
    summed = torch.stack([resize(scale.unsqueeze(1), finest).squeeze(1) for scale in distances]).sum(0)
    anomaly_map = resize(summed.unsqueeze(1), size).squeeze(1)
    if foreground is not None:
        anomaly_map = anomaly_map * foreground
    if blur_sigma == 0:
        return anomaly_map
    return gaussian_blur(anomaly_map, blur_sigma, reach=round(4 * blur_sigma))


def image_score(anomaly_map: Tensor, top_pixels: int) -> Tensor:
    """Sum of the T largest pixels: (B, H, W) → (B,)."""
    pixels = anomaly_map.flatten(1)
    return pixels.topk(min(top_pixels, pixels.shape[1]), dim=1, sorted=False).values.sum(1)


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, cell centres aligned by area (align_corners=False): (B, C, h, w) → (B, C, H, W)."""
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
