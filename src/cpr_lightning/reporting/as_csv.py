"""Tables as CSV: one line a cell, at full precision."""

from collections.abc import Sequence
from pathlib import Path

from cpr_lightning.files import write_csv
from cpr_lightning.reporting.cells import Cell, Table

FACTS = ("dataset", "scenario", "method", "variant", "ablation", "settings", "row", "metric")
HEADER = [
    *("table", *FACTS, "unit"),
    *("measured", "spread", "seeds", "published", "difference", "categories", "of_categories"),
]


def write_tables_csv(path: Path, tables: Sequence[Table]) -> None:
    """Every cell, also the missing ones, whole or not at all.

    ``seeds`` counts what ``measured`` and ``spread`` are over (of a speed: runs); an average with fewer ``categories``
    than ``of_categories`` is incomplete.
    """
    lines = []
    for table in tables:
        columns = dict.fromkeys(part.column.key for part in table.parts)
        for row in table.rows:
            for column in (column for column in table.columns if column.key in columns):
                cell = row.cells.get(column.key, Cell())
                facts = {**table.facts, **row.facts, **column.facts}
                named = [table.name, *(facts.get(key, "") for key in FACTS), column.unit]
                lines.append(named + _numbers(cell))
    write_csv(path, HEADER, lines)


def _numbers(cell: Cell) -> list[str]:
    measured = cell.measured
    published, difference = _number(cell.published), _number(cell.difference)
    if measured is None:
        return ["", "", "", published, difference, "", ""]
    return [
        *(_number(measured.mean), _number(measured.spread), str(measured.count), published, difference),
        *(str(measured.categories), str(measured.of)),
    ]


def _number(value: float | None) -> str:
    """To ten decimals, which keeps all that was measured and none of the noise of binary fractions."""
    return "" if value is None else repr(round(value, 10))
