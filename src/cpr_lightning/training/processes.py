"""One training in several processes of this machine, a device each (``trainer=ddp``).

The command's own process starts them, waits, and goes on when they are done: it alone indexes, tests, writes results.
"""

import logging
import os
import pickle
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import multiprocessing
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from cpr_lightning.errors import CprError, RunError, SettingsError
from cpr_lightning.settings import Settings
from cpr_lightning.terminal import draws_bars, plainly
from cpr_lightning.trainer_checks import SPAWN, batch_problem, device_count
from cpr_lightning.training.progress import quiet

_PATIENCE = 10.0  # seconds for a process to end by itself
_INTERRUPTED = 130  # exit status


class Speech:
    """Where this process's log goes and whether it draws bars, for another one: handlers cannot be sent there."""

    def __init__(self) -> None:
        root = logging.getLogger()
        self.level = root.level
        self.bars = draws_bars()
        self.targets: list[tuple[str | None, bool, int, logging.Formatter | None]] = []
        for handler in root.handlers:
            plain = handler.formatter if type(handler.formatter) is logging.Formatter else None
            if isinstance(handler, logging.FileHandler):
                self.targets.append((handler.baseFilename, False, handler.level, plain))
            elif isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stdout, sys.stderr):
                self.targets.append((None, handler.stream is sys.stdout, handler.level, plain))

    def take_up(self, rank: int) -> None:
        """Log as the process did in which this was made; of several processes the first one alone."""
        root = logging.getLogger()
        if rank:
            root.setLevel(logging.CRITICAL)
            warnings.simplefilter("ignore")
            return
        root.setLevel(self.level)
        for path, to_stdout, level, formatter in self.targets:
            stream = logging.StreamHandler(sys.stdout if to_stdout else sys.stderr)
            handler = stream if path is None else logging.FileHandler(path, encoding="utf-8")
            handler.setLevel(level)
            handler.setFormatter(formatter)
            root.addHandler(handler)


def process_count(settings: Settings, device: torch.device) -> int:
    """How many processes the settings ask for; 0 where the training is to run in this one.

    Raises:
        SettingsError: there are not so many GPUs, or they cannot share a batch.
    """
    if settings.trainer.get("strategy") != SPAWN:
        return 0
    asked = settings.trainer.get("devices", "auto")
    available = torch.cuda.device_count() if device.type == "cuda" else None
    count = device_count(asked) or available or 1
    needed = max(asked) + 1 if isinstance(asked, list) else count
    if available is not None and needed > available:
        raise SettingsError(
            f"trainer.devices={asked} asks for GPUs that this machine does not have; it has {available}."
        )
    problem = batch_problem(settings, count)
    if problem is not None:
        raise SettingsError(problem)
    return count


def strategy() -> DDPStrategy:
    """Lightning's part of it, in a process that :func:`run_processes` has started."""
    # The frozen backbone's buffers never change, and those of the branch are the same everywhere.
    return DDPStrategy(cluster_environment=LightningEnvironment(), broadcast_buffers=False)


def run_processes(count: int, device: torch.device, work: Callable[[], object]) -> None:
    """Call ``work`` in ``count`` processes; return when all are done. Where one fails, none goes on.

    Args:
        count: of the processes.
        device: of the first one tells what they compute on.
        work: can be pickled; tensors in it lie on the CPU.

    Raises:
        CprError: what a process raised, or that it was killed.
        OSError: likewise.
    """
    failures = multiprocessing.get_context("spawn").SimpleQueue()
    # As bytes: torch would share the tensors' memory among all of them.
    given = pickle.dumps(work)
    threads = max(1, torch.get_num_threads() // count)
    with tempfile.TemporaryDirectory(prefix="cpr-ddp-") as meeting:
        told = (count, device.type, Path(meeting) / "store", threads, Speech(), given, failures)
        logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # that it ends what is to end
        running = start_processes(_process, told, nprocs=count, join=False, start_method="spawn")
        assert running is not None
        try:
            while not running.join():
                pass
        except (ProcessRaisedException, ProcessExitedException) as error:
            if not failures.empty():  # the first is the cause, others lost their partner
                raise failures.get() from error
            codes = [process.exitcode or 0 for process in running.processes if process is not None]
            if _INTERRUPTED in codes:
                raise KeyboardInterrupt from error
            # The others of a process that was killed raise something too; SIGTERM is what torch ends them with.
            killed = any(code < 0 and code != -signal.SIGTERM for code in codes)
            if isinstance(error, ProcessRaisedException) and not killed:
                raise
            reason = str(error).strip().splitlines()[-1]
            raise RunError(
                f"A process of the training ended before it was done ({reason}). If it was killed, the memory may be "
                "short: take fewer trainer.devices or a smaller training.batch_size, and go on with resume=RUN_DIR."
            ) from error
        finally:
            _end(running.processes)


def _process(
    rank: int, count: int, kind: str, store: Path, threads: int, speech: Speech, given: bytes, failures: Any
) -> None:
    """What each process does."""
    # How torch ends it where the command's process is killed; a shell's background commands ignore this signal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["LOCAL_RANK"] = str(rank)  # tells Lightning that it need not start any
    torch.set_num_threads(threads)
    backend = "nccl" if kind == "cuda" else "gloo"
    try:
        work = pickle.loads(given)  # before there is a log: libraries have a lot to say when they are loaded
        speech.take_up(rank)
        # A file to meet at: a port that is free now may be taken by another run's processes the moment after.
        dist.init_process_group(backend, init_method=f"file://{store}", rank=rank, world_size=count)
        with quiet(), nullcontext() if speech.bars else plainly():
            work()
        dist.destroy_process_group()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except (CprError, OSError) as error:
        failures.put(error)
        sys.exit(1)


def _end(processes: Sequence[Any]) -> None:
    """Leave no process behind: one that does not end by itself is interrupted, then killed."""
    for number in (None, signal.SIGINT, signal.SIGKILL):
        for process in processes:
            if number is not None and process.is_alive():
                os.kill(process.pid, number)
        for process in processes:
            process.join(_PATIENCE)
