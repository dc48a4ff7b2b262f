"""What an engine has to do."""

from collections.abc import Callable, Generator, Sequence
from typing import Protocol

from cpr_lightning.sweeps.cell import Cell, Outcome

# Runs one cell and catches every error; KeyboardInterrupt alone comes out of it. Found by its name in other processes.
Work = Callable[[Cell], Outcome]


class Engine(Protocol):
    """Runs cells, each exactly once."""

    def check(self) -> None:
        """To be called before the first cell.

        Raises:
            SettingsError: an argument makes no sense, or something is not installed.
        """
        ...

    def run(self, cells: Sequence[Cell], work: Work) -> Generator[Outcome]:
        """Outcomes in the order in which cells end.

        A cell whose process dies has failed; the others go on. When the iterator is closed or interrupted, everything
        that runs is stopped: close it (``contextlib.closing``) where the loop over it can be left early.

        Raises:
            SettingsError: the first cell cannot be started, for the cluster refuses.
        """
        ...
