"""How many threads a process of a sweep computes with, and on which cores, so that jobs side by side do not fight."""

import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager


def usable_cores() -> tuple[int, ...]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def allowed_threads() -> int | None:
    """What ``OMP_NUM_THREADS`` allows; None where it says nothing."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


def environment(threads: int) -> dict[str, str]:
    """Variables that torch, faiss, numba, OpenMP, BLAS and OpenCV read once, when they are loaded."""
    names = (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMBA_NUM_THREADS",
        "OPENCV_FOR_THREADS_NUM",
    )
    return dict.fromkeys(names, str(threads))


def settle(threads: int, cores: Collection[int]) -> None:
    """Make this process compute with so many threads on these cores; to be called before it imports torch.

    What else looks for cores, such as the number of loader processes, then finds these alone.

    Args:
        threads: at least 1.
        cores: their numbers; none: wherever the system puts it.
    """
    os.environ.update(environment(threads))
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    if "torch" in sys.modules:  # whoever started this process had it loaded: too late for the variables
        _limit_loaded(threads)


@contextmanager
def limited(threads: int | None) -> Iterator[None]:
    """Compute with so many threads in this process, where torch is loaded already; None: as it is."""
    if threads is None:
        yield
        return
    before = _limit_loaded(threads)
    try:
        yield
    finally:
        _limit_loaded(*before)


def _limit_loaded(torch_threads: int, opencv_threads: int | None = None, faiss_threads: int | None = None) -> tuple:
    """Set the threads of the libraries in this process, by default alike; returns what they were. numba's kernels take
    torch's number (``kernels.torch_threads``).
    """
    import cv2
    import faiss
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads(), faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(faiss_threads or torch_threads)
    cv2.setNumThreads(opencv_threads or torch_threads)
    torch.set_num_threads(torch_threads)  # last: faiss may share its OpenMP
    return before
