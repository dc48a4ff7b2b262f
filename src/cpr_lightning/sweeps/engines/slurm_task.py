"""What runs in a Slurm job."""

from submitit.helpers import Checkpointable

from cpr_lightning.sweeps.cell import Cell, Outcome
from cpr_lightning.sweeps.engines.engine import Work


class Task(Checkpointable):
    """One cell. submitit queues it again where its time is up or another job takes its place; it then goes on from the
    run's last checkpoint.
    """

    def __call__(self, work: Work, cell: Cell) -> Outcome:
        """Run it."""
        return work(cell)
