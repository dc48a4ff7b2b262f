"""Algorithm 1: the pixel pairs that the local branch learns from.

Same pairs (positive): a defect-free query pixel and the same place on the reference. Remote pairs (negative): a
reference pixel of a same pair and a query pixel farther than θ from it. Defect pairs (negative): a defective query
pixel and the same place on the reference. Points are (x, y) in [−1, 1] over the image, as ``grid_sample`` takes them
without ``align_corners``.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

_REDRAWS = 16  # of remote points that fell too near; the chance of one is about 0.1 % a draw at the default sizes


class Points(NamedTuple):
    """Pairs of one sort; missing ones are marked and count nothing."""

    query: Tensor  # (B, N, 2)
    reference: Tensor  # (B, N, 2)
    valid: Tensor  # (B, N) bool


class Part(NamedTuple):
    """Which images of a batch these are, where several processes share it; what is drawn is drawn for all of it."""

    first: int
    of: int


class PixelPairs(NamedTuple):
    """All pairs of a batch."""

    same: Points
    remote: Points
    defect: Points


def draw_pixel_pairs(
    defect: Tensor,
    foreground: Tensor | None,
    count: int,
    *,
    remote_distance: float | None,
    generator: torch.Generator,
    part: Part | None = None,
) -> PixelPairs:
    """Draw the pairs of a batch on a grid of places: all pixels (official), or all feature cells (paper).

    Args:
        defect: (B, H, W) bool, where the query is defective.
        foreground: (B, H, W) ≥ 0, the weight with which a same pair is drawn, or None for uniform (textures).
        count: N, pairs of each sort.
        remote_distance: θ in places; None draws no remote pairs (textures).
        generator: on the device of ``defect``.
        part: None: these B images are the whole batch.
    """
    part = part or Part(0, len(defect))
    height, width = defect.shape[1:]
    normal = ~defect.flatten(1)
    weight = normal.float() if foreground is None else normal * foreground.flatten(1)
    same, same_valid = _draw(weight, count, generator, part)
    places, defect_valid = _draw(defect.flatten(1).float(), count, generator, part)
    same_points = _to_points(same, height, width)
    defect_points = _to_points(places, height, width)
    if remote_distance is None:
        remote, remote_valid = same, torch.zeros_like(same_valid)
    else:
        remote, far = _draw_remote(same, height, width, remote_distance, generator, part)
        remote_valid = same_valid & far
    return PixelPairs(
        same=Points(same_points, same_points, same_valid),
        remote=Points(_to_points(remote, height, width), same_points, remote_valid),
        defect=Points(defect_points, defect_points, defect_valid),
    )


def remote_threshold(stride: int, window: int) -> float:
    """θ in pixels: what the window of the finest scale reaches diagonally (4·⌊3/2⌋·√2 ≈ 5.66 for CPR)."""
    return stride * (window // 2) * math.sqrt(2)


def to_cells(defect: Tensor, foreground: Tensor | None, cells: int) -> tuple[Tensor, Tensor | None]:
    """The paper's grid: feature cells, defective where any of their pixels is."""
    coarse = F.adaptive_max_pool2d(defect.unsqueeze(1).float(), cells).squeeze(1) > 0.5
    if foreground is not None and foreground.shape[1:] != (cells, cells):
        foreground = F.interpolate(foreground.unsqueeze(1), size=(cells, cells), mode="bilinear").squeeze(1)
    return coarse, foreground


def _draw(weight: Tensor, count: int, generator: torch.Generator, part: Part) -> tuple[Tensor, Tensor]:
    """Up to ``count`` different places in proportion to ``weight`` (B, P): places (B, count), whether each is one."""
    # The largest of w / Exp(1) are a weighted draw without replacement; places of weight 0 come last.
    drawn = weight.new_empty(part.of, weight.shape[1]).exponential_(generator=generator)
    keys = weight / _own(drawn, weight, part)
    chosen = keys.topk(min(count, keys.shape[1]), dim=1)
    places = F.pad(chosen.indices, (0, count - chosen.indices.shape[1]))
    valid = F.pad(chosen.values > 0, (0, count - chosen.values.shape[1]))
    return places, valid


def _draw_remote(
    near: Tensor, height: int, width: int, distance: float, generator: torch.Generator, part: Part
) -> tuple[Tensor, Tensor]:
    """For each place (B, N) another one farther than ``distance``, and whether one was found."""
    found = torch.zeros_like(near)
    far = torch.zeros_like(near, dtype=torch.bool)
    for _ in range(_REDRAWS):
        drawn = torch.randint(height * width, (part.of, near.shape[1]), generator=generator, device=near.device)
        drawn = _own(drawn, near, part)
        rows = (drawn // width - near // width).float()
        columns = (drawn % width - near % width).float()
        good = (rows.square() + columns.square()).sqrt() > distance
        found = torch.where(far, found, drawn)
        far = far | good
    return found, far


def _own(drawn: Tensor, images: Tensor, part: Part) -> Tensor:
    """The rows of what was drawn for the whole batch that are these images'."""
    return drawn[part.first : part.first + len(images)]


def _to_points(places: Tensor, height: int, width: int) -> Tensor:
    """Centres of places (B, N) as (x, y) in [−1, 1]."""
    x = (places % width + 0.5) * (2 / width) - 1
    y = (places // width + 0.5) * (2 / height) - 1
    return torch.stack([x, y], dim=-1)
