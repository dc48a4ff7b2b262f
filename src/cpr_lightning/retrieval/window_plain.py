"""The δ-window in plain torch: what the kernels compute, said so that it can be read. Tests compare them with it."""

import torch
from torch import Tensor

from cpr_lightning.retrieval.stored import Stored
from cpr_lightning.retrieval.window import WindowMatch


def match_window_plain(query: Tensor, references: Stored, neighbors: Tensor, window: int) -> WindowMatch:
    """Like :func:`~cpr_lightning.retrieval.window.match_window`, on any device, reference by reference.

    The similarity to one offset of one reference is a dot product of two shifted views.
    """
    found = [_match_one(one.float(), references, rows, window) for one, rows in zip(query, neighbors, strict=True)]
    return WindowMatch(*(torch.stack(parts) for parts in zip(*found, strict=True)))


def _match_one(query: Tensor, references: Stored, neighbors: Tensor, window: int) -> WindowMatch:
    """(H, W, D) and (K,) → matches (H, W)."""
    height, width, _ = query.shape
    best = query.new_full((height, width), -torch.inf)
    place = torch.zeros((height, width), dtype=torch.int64, device=query.device)
    own = torch.arange(height * width, device=query.device).view(height, width)
    row_reach = min(window // 2, height - 1)
    column_reach = min(window // 2, width - 1)
    for rank in range(len(neighbors)):
        cells = references.decode(neighbors[rank : rank + 1])[0]
        for dy in range(-row_reach, row_reach + 1):
            for dx in range(-column_reach, column_reach + 1):
                here = (slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx)))
                there = (slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx)))
                similarity = torch.linalg.vecdot(query[here], cells[there])
                better = similarity > best[here]
                best[here] = torch.where(better, similarity, best[here])
                place[here] = torch.where(better, rank * height * width + own[there], place[here])
    # Rounding may make the product of two unit vectors a little larger than 1.
    return WindowMatch((1 - best).clamp(min=0), place)
