"""Cells one after another, in this process: nothing is imported twice."""

from collections.abc import Generator, Sequence

from cpr_lightning.sweeps.cell import Cell, Outcome
from cpr_lightning.sweeps.engines.arguments import require_positive
from cpr_lightning.sweeps.engines.engine import Work
from cpr_lightning.sweeps.threads import limited


class Local:
    """The engine ``local``.

    Args:
        threads: to compute with; None: as many as torch takes.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads

    def check(self) -> None:
        """See :class:`~cpr_lightning.sweeps.engines.engine.Engine`."""
        require_positive(threads=self.threads)

    def run(self, cells: Sequence[Cell], work: Work) -> Generator[Outcome]:
        """See :class:`~cpr_lightning.sweeps.engines.engine.Engine`."""
        for cell in cells:
            with limited(self.threads):
                outcome = work(cell)
            yield outcome
