"""Cells in parallel processes of this machine, with joblib's process pool (loky)."""

import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from typing import Any

from cpr_lightning.sweeps.cell import Cell, Outcome
from cpr_lightning.sweeps.engines.arguments import require_installed, require_positive
from cpr_lightning.sweeps.engines.engine import Work
from cpr_lightning.sweeps.engines.staff import run_with
from cpr_lightning.sweeps.shares import Share, divide, visible_gpus
from cpr_lightning.sweeps.threads import environment, settle, usable_cores


class Joblib:
    """The engine ``joblib``.

    Args:
        jobs: cells at the same time; None: one for each GPU; without any, one for every four cores, two at least.
        threads: of each; None: its part of the cores, and no more than ``OMP_NUM_THREADS`` allows.
    """

    def __init__(self, jobs: int | None = None, threads: int | None = None) -> None:
        self.jobs = jobs
        self.threads = threads

    def check(self) -> None:
        """See :class:`~cpr_lightning.sweeps.engines.engine.Engine`."""
        require_positive(jobs=self.jobs, threads=self.threads)
        require_installed("joblib", "joblib")

    def run(self, cells: Sequence[Cell], work: Work) -> Generator[Outcome]:
        """See :class:`~cpr_lightning.sweeps.engines.engine.Engine`."""
        shares = divide(self.jobs, self.threads, usable_cores(), visible_gpus())
        return run_with(lambda place: _Process(shares[place]), len(shares), cells, work)


class _Process:
    """A pool of one process: where a pool of several loses one, it gives up the others' cells too."""

    def __init__(self, share: Share) -> None:
        from joblib.externals.loky import ProcessPoolExecutor

        variables = environment(share.threads)
        if share.gpu is not None:
            variables["CUDA_VISIBLE_DEVICES"] = share.gpu
        begin = (share, os.getpid())
        self._pool: Any = ProcessPoolExecutor(1, initializer=_begin, initargs=begin, env=variables)

    def begin(self, work: Work, cell: Cell) -> Future[Outcome]:
        return self._pool.submit(work, cell)

    def cause_of_death(self, error: BaseException) -> str | None:
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        if not isinstance(error, TerminatedWorkerError):
            return None
        code = re.search(r"exit codes of the workers are \{(.*?)\}", str(error))
        killed = code and "KILL" in code.group(1)
        return f"{code.group(1)}{', as where memory runs out' if killed else ''}" if code else "no exit code"

    def dismiss(self) -> None:
        self._pool.shutdown(wait=False)

    def kill(self) -> None:
        self._pool.shutdown(wait=True, kill_workers=True)


def _begin(share: Share, sweep: int) -> None:
    """The first thing that a worker does."""
    settle(share.threads, share.cores)
    # loky makes its own way of starting processes the default in its workers, which fails for those of a data loader.
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
    # Ctrl-C in a terminal reaches all processes; the sweep's own decides what becomes of this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(sweep,), daemon=True).start()


def _end_with(sweep: int) -> None:
    """A worker whose sweep was killed must not go on in a folder that the next one writes to."""
    while os.getppid() == sweep:
        time.sleep(0.5)
    os._exit(1)
