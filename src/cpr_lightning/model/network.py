"""The network part of the cascade: everything from pixels to descriptors, words and foreground, as one graph.

It holds all that a runtime (:mod:`cpr_lightning.runtime`) can compile or export; what follows it needs the bank.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.foreground import Foreground
from cpr_lightning.model.global_retrieval import assign_codes
from cpr_lightning.model.local_branch import LocalBranch


class Described(NamedTuple):
    """What the network part says of a batch of images."""

    codes: Tensor  # (B, h, w) int64, the word of each first-scale cell
    local: list[Tensor]  # per scale (B, h, w, D), descriptors of unit length over D
    foreground: Tensor | None  # (B, h, w) in [0, 1], or None where there is no foreground branch


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


class NetworkPart(nn.Module):
    """Backbone, local branches, code assignment and foreground.

    Args:
        features: backbone and local branch.
        codebook: (clusters, C) of the global retrieval.
        foreground: the foreground branch, or None.
    """

    codebook: Tensor

    def __init__(self, features: LocalFeatures, codebook: Tensor, foreground: Foreground | None) -> None:
        super().__init__()
        self.features = features
        self.foreground = foreground
        self.register_buffer("codebook", codebook)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, H, W, 3) uint8 → codes, the foreground if there is one, descriptors per scale; see :class:`Described`.

        A flat list, because that is what graphs export.
        """
        raw, local = self.features(images)
        foreground = [] if self.foreground is None else [self.foreground(raw)]
        # Channels last: a descriptor lies in one piece, as in the bank.
        cells = [scale.movedim(1, -1).contiguous() for scale in local]
        return [assign_codes(raw, self.codebook), *foreground, *cells]

    def named(self, outputs: Sequence[Tensor]) -> Described:
        """What :meth:`forward` (or a runtime's version of it) returned, by name."""
        if self.foreground is None:
            return Described(outputs[0], list(outputs[1:]), None)
        return Described(outputs[0], list(outputs[2:]), outputs[1])
