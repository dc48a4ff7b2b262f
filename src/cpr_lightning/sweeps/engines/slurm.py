"""Cells as the tasks of a Slurm job array, with submitit."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from cpr_lightning.errors import SettingsError, first_line
from cpr_lightning.sweeps.cell import Cell, Outcome, State
from cpr_lightning.sweeps.engines.arguments import require_installed, require_positive, require_text
from cpr_lightning.sweeps.engines.engine import Work
from cpr_lightning.sweeps.threads import environment

_LOOK_FOR_RESULTS = 1.0  # seconds
_ASK_SLURM = 10.0  # seconds; its controller serves everybody
_OVER = ("BOOT_FAIL", "CANCELLED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT", "REVOKED")


class Slurm:
    """The engine ``slurm``.

    The command is typed on a machine that can submit; data, runs and the installation lie where the nodes see them.

    Args:
        jobs: cells at the same time, at most.
        partition: None: the cluster's default.
        account: None: the user's default.
        minutes: for a cell. When they are up, it is queued again, up to three times, and goes on from its checkpoint.
        memory_gb: for a cell; None: the cluster's default.
        cpus: for a cell.
        gpus: for a cell; None: none is asked for.
        threads: of a cell; None: as many as ``cpus``.
        options: of ``sbatch``, by their long names, such as ``qos``.
        folder: for the jobs' scripts and logs; None: ``slurm`` beside the runs.
    """

    def __init__(
        self,
        jobs: int = 64,
        partition: str | None = None,
        account: str | None = None,
        minutes: int = 1440,
        memory_gb: int | None = None,
        cpus: int = 4,
        gpus: int | None = None,
        threads: int | None = None,
        options: dict[str, Any] | None = None,
        folder: str | None = None,
    ) -> None:
        self.jobs = jobs
        self.partition = partition
        self.account = account
        self.minutes = minutes
        self.memory_gb = memory_gb
        self.cpus = cpus
        self.gpus = gpus
        self.threads = threads
        self.options = options
        self.folder = folder

    def check(self) -> None:
        """See :class:`~cpr_lightning.sweeps.engines.engine.Engine`."""
        require_positive(jobs=self.jobs, minutes=self.minutes, cpus=self.cpus, may_be_null=False)
        require_positive(memory_gb=self.memory_gb, gpus=self.gpus, threads=self.threads)
        require_text(partition=self.partition, account=self.account, folder=self.folder)
        if self.options is not None and not isinstance(self.options, dict):
            raise SettingsError(f"launcher.options={self.options} must be sbatch's, as in {{qos: long}}.")
        require_installed("submitit", "slurm")
        for program in ("sbatch", "srun", "squeue", "scancel"):
            if shutil.which(program) is None:
                raise SettingsError(
                    f"launcher=slurm needs Slurm's program {program}, which is not on this machine's PATH: type the "
                    "command on a machine of the cluster that can submit jobs, or take launcher=joblib."
                )

    def run(self, cells: Sequence[Cell], work: Work) -> Generator[Outcome]:
        """See :class:`~cpr_lightning.sweeps.engines.engine.Engine`."""
        if not cells:
            return
        began = time.monotonic()
        left = dict(zip(self._submit(cells, work), cells, strict=True))
        try:
            asked = began
            missed: set[Any] = set()  # jobs that were over when Slurm was asked last; their results may be on the way
            while left:
                time.sleep(_LOOK_FOR_RESULTS)
                for job in [job for job in left if job.paths.result_pickle.exists()]:
                    yield _outcome(job, left.pop(job), began)
                if time.monotonic() - asked < _ASK_SLURM:
                    continue
                asked = time.monotonic()
                states = _states()
                if states is None:
                    continue
                over = {job for job in left if states.get(job.job_id, "gone") in (*_OVER, "COMPLETED", "gone")}
                for job in over & missed:
                    if not job.paths.result_pickle.exists():
                        yield _dead(job, left.pop(job), states.get(job.job_id), began)
                missed = over
        finally:
            if left:
                _cancel([job.job_id for job in left])

    def _submit(self, cells: Sequence[Cell], work: Work) -> list[Any]:
        """One job array; the jobs in the order of the cells."""
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        from cpr_lightning.sweeps.engines.slurm_task import Task

        folder = Path(self.folder).expanduser().absolute() if self.folder else cells[0].folder.parent / "slurm"
        executor = submitit.SlurmExecutor(folder)
        # Read by the libraries when the job's Python loads them.
        threads = environment(self.threads or self.cpus)
        executor.update_parameters(
            job_name="cpr",
            partition=self.partition,
            account=self.account,
            time=self.minutes,
            mem=f"{self.memory_gb}G" if self.memory_gb else None,
            cpus_per_task=self.cpus,
            gpus_per_node=self.gpus,
            array_parallelism=self.jobs,
            setup=[f"export {name}={value}" for name, value in threads.items()],
            srun_args=[f"--cpus-per-task={self.cpus}"],  # srun does not take it from sbatch any more
            additional_parameters=self.options,
            wckey=None,
            stderr_to_stdout=True,
        )
        try:
            return executor.map_array(Task(), [work] * len(cells), cells)
        except (FailedJobError, FailedSubmissionError) as error:
            raise SettingsError(
                f"Slurm does not take the sweep: {_refusal(error)} Look at launcher.partition, launcher.account and "
                "what is asked for a cell (launcher.minutes, memory_gb, cpus, gpus, options)."
            ) from error


def _outcome(job: Any, cell: Cell, began: float) -> Outcome:
    """What a job returned."""
    try:
        return job.result()
    except Exception as error:  # what else submitit raises is its own
        raised = re.findall(r"^[\w.]+(?:Error|Exception|Exit|Interrupt)\b.*", str(error), re.MULTILINE)  # of its trace
        reason = raised[-1] if raised else first_line(error)
        said = f"its job {job.job_id} could not run it ({reason}); see {job.paths.stdout}."
        return Outcome(cell.number, State.failed, said, time.monotonic() - began)
    finally:  # the logs stay
        job.paths.result_pickle.unlink(missing_ok=True)
        job.paths.submitted_pickle.unlink(missing_ok=True)


def _dead(job: Any, cell: Cell, state: str | None, began: float) -> Outcome:
    """A job that ended without a result."""
    how = f"Slurm says {state}" if state else "Slurm does not know it any more"
    said = f"its process died ({how}, job {job.job_id}); see {job.paths.stdout}."
    return Outcome(cell.number, State.failed, said, time.monotonic() - began)


def _states() -> dict[str, str] | None:
    """States of the user's jobs by their numbers; None where Slurm does not answer. Unlike ``sacct``, which submitit
    asks, ``squeue`` needs no accounting database.
    """
    command = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--format=%i %T"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        return None
    return dict(line.split(maxsplit=1) for line in answer.stdout.splitlines() if line.strip())


def _cancel(jobs: list[str]) -> None:
    """End jobs, waiting ones and running ones."""
    subprocess.run(["scancel", *{job.partition("_")[0] for job in jobs}], capture_output=True, check=False)


def _refusal(error: Exception) -> str:
    """What ``sbatch`` complained about."""
    lines = [line.strip() for line in str(error).splitlines() if "sbatch: error" in line]
    return (lines[0].partition("sbatch: error:")[2].strip() if lines else first_line(error)).rstrip(".") + "."
