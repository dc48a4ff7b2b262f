"""Sums over the processes of a training (``trainer=ddp``); where there is one, nothing happens.

The processes hold parts of a batch that are of one size: the mean over the batch is the mean of their means.
"""

import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if processes() > 1 else 0


def total(value: Tensor) -> Tensor:
    """Sum over all processes, the same in each; no gradient flows through it. All must call it, in the same order."""
    if processes() == 1:
        return value
    summed = value.detach().clone()
    dist.all_reduce(summed)
    return summed


def mean(value: Tensor) -> Tensor:
    """Mean over all processes, likewise."""
    return value if processes() == 1 else total(value) / processes()
