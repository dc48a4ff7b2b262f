"""Tables as Markdown."""

from collections.abc import Sequence
from itertools import groupby

from cpr_lightning.reporting.cells import Table
from cpr_lightning.reporting.collect import Collected
from cpr_lightning.reporting.published import PAPER

_INTRODUCTION = (
    f"Published: {PAPER}. Numbers are in percent, unless the head says images/s; the spread is the sample standard "
    "deviation over seeds."
)


def markdown(title: str, tables: Sequence[Table], collected: Collected) -> str:
    """A page with all tables, and what was left out."""
    parts = [
        f"# {_escaped(title)}",
        _INTRODUCTION,
    ]
    for group, members in groupby(tables, key=lambda table: table.group):
        parts.append(f"## {_escaped(group)}")
        for table in members:
            parts += [f"### {_escaped(table.title)}", _table(table)]
            parts.append("\n".join(f"- {_escaped(note)}" for note in table.notes))
    if collected.replaced:
        parts.append("## Replaced by newer runs of the same settings, category and seed")
        lines = [f"- {older.folder}: {newer.folder} counts" for older, newer in collected.replaced]
        parts.append(_escaped("\n".join(lines)))
    if collected.skipped:
        parts.append("## Skipped")
        parts.append(_escaped("\n".join(f"- {path}: {reason}" for path, reason in collected.skipped)))
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    parts = table.parts
    header = [*table.headers, *(f"{part.column.title}, {part.kind}" for part in parts)]
    rules = ["---"] * len(table.headers) + ["---:"] * len(parts)
    lines = [_line(header), f"|{'|'.join(rules)}|"]
    for row in table.rows:
        cells = [_escaped(text) for text in (*row.labels, *(part.text(row) for part in parts))]
        lines.append(_line([f"**{cell}**" if row.is_average and cell else cell for cell in cells], escape=False))
    return "\n".join(lines)


def _line(cells: Sequence[str], escape: bool = True) -> str:
    return f"| {' | '.join(_escaped(cell) if escape else cell for cell in cells)} |"


def _escaped(text: str) -> str:
    """Without signs that Markdown would take for its own: a category or a path may have any."""
    plain = text.encode("utf-8", "backslashreplace").decode("utf-8")  # a file name may be no UTF-8
    for sign in "\\`*_<|[]#":
        plain = plain.replace(sign, f"\\{sign}")
    return plain
