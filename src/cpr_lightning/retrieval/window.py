"""Shooting: the δ-windowed nearest neighbor of every query cell on the K references (eq. 9–10, Algorithm 2 line 5)."""

from typing import NamedTuple

import torch
from torch import Tensor


class WindowMatch(NamedTuple):
    """The best match of every query cell: where it lies is the evidence behind a score."""

    distance: Tensor  # (H, W) float32, cosine distance in [0, 2]
    neighbor: Tensor  # (H, W) int64, which of the K references, 0 = nearest
    row: Tensor  # (H, W) int64, row of the matching cell on that reference
    column: Tensor  # (H, W) int64


def match_window(query: Tensor, references: Tensor, neighbors: Tensor, window: int) -> WindowMatch:
    """Find each query cell's nearest reference cell among those at about the same place.

    The similarity to one offset of one reference is a dot product of two shifted views, so nothing larger than one
    reference image is ever held: the tensor of K · D · window² · H · W numbers that a plain ``unfold`` makes (1.8 GB at
    the default sizes) is never built.

    Args:
        query: (H, W, D), unit length over D.
        references: (N, H, W, D), unit length over D, any floating type: usually a view of the bank's storage.
        neighbors: (K,) integer rows of ``references``, nearest first.
        window: cells on a side, odd. Cells outside the image never match.

    Returns:
        The match of least distance ``1 − cosine``. Ties go to the nearer neighbor, then to the earlier cell.

    Raises:
        ValueError: shapes do not fit, or the window is even.
    """
    height, width, dim = query.shape
    if references.shape[1:] != (height, width, dim):
        raise ValueError(
            f"The query is {tuple(query.shape)} (H, W, D), the references {tuple(references.shape)} (N, H, W, D)."
        )
    if window < 1 or window % 2 == 0:
        raise ValueError(f"A window has an odd number of cells on a side, not {window}.")
    if len(neighbors) == 0:
        raise ValueError("There is no neighbor to match with.")
    best = query.new_full((height, width), -torch.inf, dtype=torch.float32)
    position = torch.zeros((3, height, width), dtype=torch.int64, device=query.device)
    rows, columns = torch.meshgrid(
        torch.arange(height, device=query.device), torch.arange(width, device=query.device), indexing="ij"
    )
    row_reach = min(window // 2, height - 1)
    column_reach = min(window // 2, width - 1)
    for rank, reference in enumerate(neighbors.tolist()):
        cells = references[reference].to(query)
        for dy in range(-row_reach, row_reach + 1):
            for dx in range(-column_reach, column_reach + 1):
                here = (slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx)))
                there = (slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx)))
                similarity = torch.linalg.vecdot(query[here], cells[there])
                better = similarity > best[here]
                best[here] = torch.where(better, similarity, best[here])
                for axis, value in enumerate((torch.full_like(rows, rank), rows + dy, columns + dx)):
                    position[axis][here] = torch.where(better, value[here], position[axis][here])
    # Rounding may make the product of two unit vectors a little larger than 1.
    return WindowMatch((1 - best).clamp(min=0), position[0], position[1], position[2])
