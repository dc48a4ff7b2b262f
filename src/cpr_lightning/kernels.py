"""What kernels that numba compiles for the CPU have in common: their threads, and the cache that keeps them."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numba
import torch

_log = logging.getLogger(__name__)
_numba: Any = numba  # it does not say what it exports

# torch's own threads are OpenMP's. Sharing them spares a second pool, whose threads would wait, spinning, on our cores.
if "NUMBA_THREADING_LAYER_PRIORITY" not in os.environ:
    _numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]

_ONE_AT_A_TIME = Lock()


def kept(function: Callable[..., None], *signatures: str, **options: Any) -> Callable[..., None]:
    """Compile a kernel, as a rule from numba's cache: beside its file, or the user's where that is read-only."""
    options = {"parallel": True, "nogil": True, "error_model": "numpy", **options}
    try:
        return _numba.njit(*signatures, cache=True, **options)(function)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        _log.warning(
            "A kernel is compiled anew, which takes some ten seconds, for there is no folder to keep it in; set "
            "NUMBA_CACHE_DIR to one that can be written to."
        )
        return _numba.njit(*signatures, **options)(function)


@contextmanager
def torch_threads(parts: int) -> Iterator[int]:
    """Let numba use as many threads as torch, as far as it has them, in the calling thread; yields their number.

    Args:
        parts: of the work, at least 1; to wake a thread for none costs more than a small piece of work.
    """
    threads = min(torch.get_num_threads(), _numba.config.NUMBA_NUM_THREADS, parts)
    before = numba.get_num_threads()
    numba.set_num_threads(threads)
    try:
        if _numba.threading_layer() == "workqueue":  # the one layer that two threads must not enter together
            with _ONE_AT_A_TIME:
                yield threads
        else:
            yield threads
    finally:
        numba.set_num_threads(before)


def _start() -> None:
    """Start numba's threads: OpenMP then takes their number for torch's too, which is put right again."""
    threads = torch.get_num_threads()
    numba.get_num_threads()
    torch.set_num_threads(threads)


_start()
