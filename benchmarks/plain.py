"""The cascade as the paper's formulas read: what the speed study compares with. Not written for speed.

Matching lays all K · D · window² · H · W numbers out with ``unfold``; the network runs eagerly; the blur is one
two-dimensional filter of 33×33; the T largest pixels come from a full sort.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.model.cascade import CascadePatchRetrieval


def match(query: Tensor, references: Tensor, window: int) -> Tensor:
    """Eq. 9–10: (D, H, W) and (K, D, H, W) → (H, W), the least cosine distance within the window."""
    count, dim, height, width = references.shape
    cells = F.unfold(references, window, padding=window // 2).view(count, dim, window**2, height, width)
    similarity = (cells * query.view(1, dim, 1, height, width)).sum(1)
    inside = F.unfold(torch.ones(1, 1, height, width), window, padding=window // 2).view(1, window**2, height, width)
    return (1 - similarity).masked_fill(inside == 0, torch.inf).amin(dim=(0, 1))


def blur(anomaly_map: Tensor, sigma: float = 4.0, reach: int = 16) -> Tensor:
    """(H, W) → (H, W)."""
    line = torch.exp(-torch.arange(-reach, reach + 1).square() / (2 * sigma * sigma))
    kernel = torch.outer(line, line) / line.sum().square()
    padded = F.pad(anomaly_map[None, None], (reach, reach, reach, reach), mode="reflect")
    return F.conv2d(padded, kernel[None, None])[0, 0]


class PlainCascade:
    """The parts of a cascade, put together plainly.

    Args:
        cascade: whose network, histograms and references are used.
        features: per scale (N, D, H, W) float32, what the bank holds.
    """

    def __init__(self, cascade: CascadePatchRetrieval, features: Sequence[Tensor]) -> None:
        self.cascade = cascade
        self.features = features

    @torch.no_grad()
    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(1, H, W, 3) uint8 → anomaly map (H, W), score ()."""
        described = self.cascade.network.named(self.cascade.network(image))
        neighbors = self.rank(described.codes)
        local = [scale[0].movedim(-1, 0) for scale in described.local]
        return self.score(self.match(local, neighbors), self.foreground(described.foreground, neighbors))

    def rank(self, codes: Tensor) -> Tensor:
        """(1, h, w) → (K,) rows of the nearest references."""
        retrieval = self.cascade.retrieval
        query = retrieval.describe(codes)[0].double() + 1e-8
        references = retrieval.histograms.double() + 1e-8
        divergence = (query * (query / references).log()).sum(2).sort(dim=1).values
        kept = divergence.shape[1] - retrieval.ignored_blocks
        return divergence[:, :kept].sum(1).argsort()[: self.cascade.neighbors]

    def match(self, local: Sequence[Tensor], neighbors: Tensor) -> list[Tensor]:
        """Per scale (D, H, W) → (H, W)."""
        scales = zip(local, self.features, self.cascade.windows, strict=True)
        return [match(query, references[neighbors], window) for query, references, window in scales]

    def foreground(self, own: Tensor | None, neighbors: Tensor) -> Tensor | None:
        """F* at image size (H, W), or None."""
        maps = self.cascade.reference_foreground
        if own is None or maps is None:
            return None
        size = 4 * own.shape[1], 4 * own.shape[2]
        every = torch.cat([own, maps[neighbors]]).unsqueeze(1)
        return F.interpolate(every, size=size, mode="bilinear").amax(dim=(0, 1))

    def score(self, distances: Sequence[Tensor], foreground: Tensor | None) -> tuple[Tensor, Tensor]:
        """Anomaly map and image score."""
        finest = distances[0].shape
        summed = torch.stack(
            [F.interpolate(each[None, None], size=finest, mode="bilinear")[0, 0] for each in distances]
        )
        size = (4 * finest[0], 4 * finest[1])
        anomaly_map = F.interpolate(summed.sum(0)[None, None], size=size, mode="bilinear")[0, 0]
        if foreground is not None:
            anomaly_map = anomaly_map * foreground
        anomaly_map = blur(anomaly_map)
        return anomaly_map, anomaly_map.flatten().sort(descending=True).values[: self.cascade.scoring.top_pixels].sum()
