"""The network part in plain torch, and in half precision where that is asked for."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cpr_lightning.choices import Precision
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.local_branch import LocalBranch
from cpr_lightning.model.network import LocalFeatures, NetworkPart

DTYPES = {Precision.fp32: torch.float32, Precision.bf16: torch.bfloat16, Precision.fp16: torch.float16}


class MixedFeatures(LocalFeatures):
    """Backbone and branch under autocast; what is compared afterwards is computed in float32.

    A sum of squares rounded to bf16 would be wrong by up to 0.4 %, for all of a descriptor alike, and a codebook's
    distances rounded so would tie. So the raw features are handed on as float32, and the length is taken in float32.
    Descriptors come in float32 on a CPU and in the half type on a GPU, whose matching kernel then uses tensor cores.

    Args:
        backbone: frozen, shared with the plain network part.
        branch: likewise, or None.
        precision: bf16 or fp16.
    """

    def __init__(self, backbone: Backbone, branch: LocalBranch | None, precision: Precision) -> None:
        super().__init__(backbone, branch)
        self.dtype = DTYPES[precision]

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, H, W, 3) uint8 → raw first-scale features (B, C, h, w) float32; per scale (B, D, h, w) of unit length."""
        # Every weight is used once: a cache of casts would save nothing, and cannot be captured in a CUDA graph.
        with torch.autocast(images.device.type, self.dtype, cache_enabled=False):
            raw = self.backbone(images)
            projected = raw
            if self.branch is not None:
                scales = zip(self.branch.branches(), raw, strict=True)
                projected = [branch(scale) for branch, scale in scales]
        handed_on = self.dtype if images.is_cuda else torch.float32
        return raw[0].float(), [F.normalize(scale.float(), dim=1).to(handed_on) for scale in projected]


def in_precision(network: NetworkPart, precision: Precision) -> NetworkPart:
    """The network part computed in ``precision``; it shares its weights with ``network``."""
    if precision is Precision.fp32:
        return network
    features = MixedFeatures(network.features.backbone, network.features.branch, precision)
    mixed = NetworkPart(features, network.codebook, network.foreground)
    mixed.train(network.training)
    return mixed


def channels_last(network: nn.Module) -> None:
    """Lay the convolutions' weights out as tensor cores read them. The images come so; the values stay the same."""
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
