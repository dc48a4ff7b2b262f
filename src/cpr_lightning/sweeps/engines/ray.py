"""Cells on a Ray cluster: one of this machine's own for the time of the sweep, or one that runs already."""

import logging
import os
import socket
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from typing import Any

from cpr_lightning.errors import SettingsError, first_line
from cpr_lightning.sweeps.cell import Cell, Outcome
from cpr_lightning.sweeps.engines.arguments import require_installed, require_positive, require_text
from cpr_lightning.sweeps.engines.engine import Work
from cpr_lightning.sweeps.engines.staff import run_with
from cpr_lightning.sweeps.shares import Share, divide, visible_gpus
from cpr_lightning.sweeps.threads import settle, usable_cores

_STORE = 100 * 1024**2  # bytes of Ray's shared memory; results are small, images are not passed on


class Ray:
    """The engine ``ray``.

    Args:
        address: of a cluster, ``auto`` for the one that was started on this machine; its machines must share the
            folders of data and runs. None: a cluster on this machine, ended with the sweep.
        jobs: cells at the same time; None: one for each GPU; without any, one for every four cores, two at least.
        threads: of each; None: its part of the cores, and no more than ``OMP_NUM_THREADS`` allows.
    """

    def __init__(self, address: str | None = None, jobs: int | None = None, threads: int | None = None) -> None:
        self.address = address
        self.jobs = jobs
        self.threads = threads

    def check(self) -> None:
        """See :class:`~cpr_lightning.sweeps.engines.engine.Engine`."""
        require_text(address=self.address)
        require_positive(jobs=self.jobs, threads=self.threads)
        require_installed("ray", "ray")

    def run(self, cells: Sequence[Cell], work: Work) -> Generator[Outcome]:
        """See :class:`~cpr_lightning.sweeps.engines.engine.Engine`."""
        if not cells:
            return
        # Read when Ray is imported. The last one: jobs without a GPU keep CUDA_VISIBLE_DEVICES as it is.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        try:
            shares = self._own_cluster() if self.address is None else self._other_cluster(self.address)
            yield from run_with(lambda place: _Actor(shares[place], len(shares)), len(shares), cells, work)
        finally:
            ray.shutdown()

    def _own_cluster(self) -> list[Share]:
        import ray

        gpus = visible_gpus()
        shares = divide(self.jobs, self.threads, usable_cores(), gpus)
        ray.init(
            "local",
            num_cpus=max(len(usable_cores()), len(shares) * shares[0].threads),  # more than there are: as asked
            num_gpus=len(gpus),
            object_store_memory=_STORE,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        return shares

    def _other_cluster(self, address: str) -> list[Share]:
        import ray

        try:
            _knock(address)
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            raise SettingsError(
                f"launcher.address={address}: there is no Ray cluster ({first_line(error)}). Start one with `ray start "
                "--head`, or leave launcher.address out."
            ) from error
        found = ray.cluster_resources()
        gpus = [str(number) for number in range(int(found.get("GPU", 0)))]
        shares = divide(self.jobs, self.threads, range(int(found.get("CPU", 1))), gpus)
        # Ray chooses the machine and the GPU there; the numbers of cores mean nothing on another machine.
        return [Share(share.threads, gpu=share.gpu) for share in shares]


def _knock(address: str) -> None:
    """Fail at once where nobody listens; Ray itself would try for five minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


class _Actor:
    """A process of Ray's that is kept for cell after cell."""

    def __init__(self, share: Share, jobs: int) -> None:
        import ray

        gpus = int(ray.cluster_resources().get("GPU", 0))
        part = 1 / -(-jobs // gpus) if gpus else 0  # jobs on one GPU: as many as it takes
        self._actor: Any = ray.remote(_Inside).options(num_cpus=share.threads, num_gpus=part).remote(share)

    def begin(self, work: Work, cell: Cell) -> Future[Outcome]:
        return self._actor.run.remote(work, cell).future()

    def cause_of_death(self, error: BaseException) -> str | None:
        from ray.exceptions import RayActorError

        return first_line(error) if isinstance(error, RayActorError) else None

    def dismiss(self) -> None:
        self.kill()

    def kill(self) -> None:
        import ray

        ray.kill(self._actor)


class _Inside:
    """What runs in an actor's process."""

    def __init__(self, share: Share) -> None:
        settle(share.threads, share.cores)

    def run(self, work: Work, cell: Cell) -> Outcome:
        return work(cell)
