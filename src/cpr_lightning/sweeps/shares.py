"""What each of several jobs on one machine gets: threads, cores, and one GPU."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from cpr_lightning.sweeps.threads import allowed_threads


@dataclass(frozen=True)
class Share:
    """What one job gets.

    Attributes:
        threads: to compute with.
        cores: numbers of those it may use; empty: any.
        gpu: the one that it sees, as in ``CUDA_VISIBLE_DEVICES``; None: there is none to deal out.
    """

    threads: int
    cores: tuple[int, ...] = ()
    gpu: str | None = None


def divide(jobs: int | None, threads: int | None, cores: Sequence[int], gpus: Sequence[str]) -> list[Share]:
    """Share a machine among jobs.

    Args:
        jobs: at the same time; None: one for each GPU, and without any one for every four cores, but two at least.
        threads: of each; None: its part of the cores, and no more than ``OMP_NUM_THREADS`` allows.
        cores: that there are.
        gpus: that there are; job n gets number n modulo their count.
    """
    jobs = jobs or len(gpus) or max(2, len(cores) // 4)
    if threads is None:
        threads = min(max(1, len(cores) // jobs), allowed_threads() or len(cores))
    return [
        Share(threads, _own_cores(job, jobs, threads, cores), gpus[job % len(gpus)] if gpus else None)
        for job in range(jobs)
    ]


def _own_cores(job: int, jobs: int, threads: int, cores: Sequence[int]) -> tuple[int, ...]:
    """The cores of one job: neighbors, and none of another job's. Empty where there are too few to keep jobs apart: the
    system then does better than a fixed place.
    """
    if jobs * threads > len(cores):
        return ()
    own = cores[job * len(cores) // jobs : (job + 1) * len(cores) // jobs]
    return tuple(own) if len(own) >= threads else ()


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        names = [name.strip() for name in chosen.split(",")]
        return [name for name in names if name and name != "-1"]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
