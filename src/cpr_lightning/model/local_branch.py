"""The local retrieval branch: raw features → descriptors whose cosine similarity tells defects from good parts."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_REDUCED = 192
_PART = 64


class LocalBranch(nn.Module):
    """One small network per scale, with weights of its own (Section III-D; sizes as in the released code).

    Args:
        channels: of the raw features, per scale.
        dim: D, numbers per descriptor.
    """

    def __init__(self, channels: Sequence[int], dim: int) -> None:
        super().__init__()
        self.scales = len(channels)
        for number, count in enumerate(channels, start=1):
            self.add_module(f"scale{number}", ScaleBranch(count, dim))

    def branches(self) -> list["ScaleBranch"]:
        """The networks, finest scale first."""
        return [self.get_submodule(f"scale{number}") for number in range(1, self.scales + 1)]  # pyright: ignore[reportReturnType]

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Per scale (B, C, H, W) → descriptors (B, D, H, W) of unit length over D."""
        return [F.normalize(branch(scale), dim=1) for branch, scale in zip(self.branches(), features, strict=True)]


class ScaleBranch(nn.Module):
    """1×1 reduction → Inception-style block → 1×1 projection."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.reduce = ConvNorm(channels, _REDUCED, bias=True, eps=1e-5)
        self.inception = Inception()
        self.project = nn.Conv2d(4 * _PART, dim, kernel_size=1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) → (B, D, H, W), not normalised."""
        return self.project(self.trunk(features))

    def trunk(self, features: Tensor) -> Tensor:
        """All but the projection: (B, C, H, W) → (B, 256, H, W)."""
        return self.inception(self.reduce(features))

    def describe(self, sampled: Tensor) -> Tensor:
        """Project trunk features that were sampled at points: (B, 256, N) → (B, D, N), not normalised.

        A 1×1 convolution commutes with sampling, and a training step looks at some hundred points of the thousands
        of cells: projecting the points alone spares most of the projection's work.
        """
        return self.project(sampled.unsqueeze(-1)).squeeze(-1)


class Inception(nn.Module):
    """Four views of a neighborhood side by side, 64 channels each."""

    def __init__(self) -> None:
        super().__init__()
        self.one = ConvNorm(_REDUCED, _PART)
        self.three_reduce = ConvNorm(_REDUCED, 48)
        self.three = ConvNorm(48, _PART, kernel=3)
        self.one_again = ConvNorm(_REDUCED, _PART)
        self.pool = ConvNorm(_REDUCED, _PART)

    def forward(self, features: Tensor) -> Tensor:
        """(B, 192, H, W) → (B, 256, H, W)."""
        # Pooling commutes with a 1×1 convolution, and after it there is a third of the channels to pool.
        pooled = F.avg_pool2d(self.pool.conv(features), kernel_size=3, stride=1, padding=1, count_include_pad=False)
        parts = (
            self.one(features),
            self.three(self.three_reduce(features)),
            self.one_again(features),
            F.relu(self.pool.bn(pooled)),
        )
        return torch.cat(parts, dim=1)


class ConvNorm(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, bias: bool = False, eps: float = 1e-3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
        self.bn = nn.BatchNorm2d(outputs, eps=eps)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W)."""
        return F.relu(self.bn(self.conv(features)))
