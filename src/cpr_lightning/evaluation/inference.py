"""Running the cascade over many images."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cpr_lightning.model.cascade import CascadePatchRetrieval
from cpr_lightning.terminal import bar, draws_bars

log = logging.getLogger(__name__)

_BATCH = 8


class Scored(NamedTuple):
    """What the cascade says of N images."""

    maps: NDArray[np.float32]  # (N, H, W)
    scores: NDArray[np.float64]  # (N,)
    neighbors: NDArray[np.int64]  # (N, K) rows of the references


def score_images(
    cascade: CascadePatchRetrieval,
    count: int,
    load: Callable[[int], NDArray[np.uint8]],
    *,
    device: torch.device,
    excluded: Sequence[int] | None = None,
    description: str,
) -> Scored:
    """Score ``count`` images; the next ones are read while the present ones are scored.

    Args:
        cascade: on ``device``.
        count: N.
        load: reads image number i as (H, W, 3) uint8 of the run's size.
        device: to compute on.
        excluded: for each image a reference that must not be used, or None.
        description: shown beside the bar.
    """
    if count == 0:
        raise ValueError("There is no image to score.")
    outputs = []
    batches = [range(start, min(start + _BATCH, count)) for start in range(0, count, _BATCH)]
    if not draws_bars():
        log.info("%s %d images", description, count)
    with ThreadPoolExecutor(max_workers=_BATCH) as pool, bar() as progress:
        shown = progress.add_task(description, total=count)
        pending = [pool.submit(load, row) for row in batches[0]]
        for number, rows in enumerate(batches):
            images = torch.from_numpy(np.stack([future.result() for future in pending])).to(device)
            following = batches[number + 1] if number + 1 < len(batches) else range(0)
            pending = [pool.submit(load, row) for row in following]
            own = None if excluded is None else torch.tensor([excluded[row] for row in rows], device=device)
            outputs.append(cascade(images, excluded=own))
            progress.advance(shown, len(rows))
    return Scored(
        maps=np.concatenate([output.anomaly_map.float().cpu().numpy() for output in outputs]),
        scores=np.concatenate([output.score.double().cpu().numpy() for output in outputs]),
        neighbors=np.concatenate([output.neighbors.cpu().numpy() for output in outputs]),
    )
