"""A table of measured and published numbers, whatever it is written as."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cpr_lightning.reporting.measured import Measured

PERCENT, RATE = "percent", "images/s"  # units
MISSING = "—"


def table_name(*words: str) -> str:
    """Words as one of letters, digits and dashes."""
    return re.sub("[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")


@dataclass(frozen=True)
class Cell:
    """What was measured and what was published; None where it was not."""

    measured: Measured | None = None
    published: float | None = None

    @property
    def difference(self) -> float | None:
        """Measured − published; None also for an incomplete average, which is over something else."""
        if self.measured is None or self.published is None or not self.measured.complete:
            return None
        return self.measured.mean - self.published


@dataclass(frozen=True)
class Column:
    """A metric, or one of a published method's: up to three columns, measured | published | difference.

    Attributes:
        key: under which a row has its cell.
        title: as it is shown.
        unit: ``PERCENT`` or ``RATE``.
        can_be_measured: false of other authors' methods.
        facts: of the column's cells, for the CSV.
    """

    key: str
    title: str
    unit: str = PERCENT
    can_be_measured: bool = True
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """Labels, and cells by the keys of the columns.

    Attributes:
        labels: one for each of the table's headers.
        is_average: an average; a rule follows it.
        facts: of the row's cells, for the CSV.
    """

    labels: tuple[str, ...]
    cells: Mapping[str, Cell]
    is_average: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: unique in a report, made by ``table_name``.
        group: the data set and scenario it belongs to, as they are shown.
        title: what it shows, with the number of the paper's table.
        headers: over the labels of the rows.
        notes: sentences below it.
        facts: of all cells, for the CSV.
    """

    name: str
    group: str
    title: str
    headers: tuple[str, ...]
    columns: list[Column]
    rows: list[Row]
    notes: list[str]
    facts: Mapping[str, str]

    @property
    def parts(self) -> list["Part"]:
        """The columns that have something to show: of what nobody published there is no published column."""
        parts = []
        for column in self.columns:
            cells = [cell for row in self.rows if (cell := row.cells.get(column.key)) is not None]
            published = any(cell.published is not None for cell in cells)
            if not published and all(cell.measured is None for cell in cells):
                continue
            kinds = [*(["measured"] * column.can_be_measured), *(["published"] * published)]
            kinds += ["difference"] * (published and column.can_be_measured)
            parts += [Part(column, kind) for kind in kinds]
        return parts


class Part(NamedTuple):
    """One printed column."""

    column: Column
    kind: str  # measured, published or difference

    def text(self, row: Row) -> str:
        """The cell of a row, with one decimal as in the paper: ``81.2 ± 0.3``, ``81.2 (3/5)``, ``−0.4``."""
        cell = row.cells.get(self.column.key, Cell())
        if self.kind == "published":
            return MISSING if cell.published is None else self._number(cell.published)
        if self.kind == "difference":
            return MISSING if cell.difference is None else self._signed(cell.difference)
        if cell.measured is None:
            return MISSING
        spread = "" if cell.measured.spread is None else f" ± {self._number(cell.measured.spread)}"
        share = "" if cell.measured.complete else f" ({cell.measured.categories}/{cell.measured.of})"
        return f"{self._number(cell.measured.mean)}{spread}{share}"

    def _number(self, value: float) -> str:
        # The paper gives speeds without decimals; those of a slow machine would lose too much.
        return f"{value:.0f}" if self.column.unit == RATE and value >= 100 else f"{value:.1f}"

    def _signed(self, value: float) -> str:
        text = self._number(abs(value))
        return text if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"
