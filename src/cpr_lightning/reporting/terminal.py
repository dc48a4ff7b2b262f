"""Tables on the terminal: as many metrics side by side as it is wide, the rest below."""

from collections.abc import Sequence
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from cpr_lightning.reporting.cells import Part, Row, Table

_HEADS = {"measured": "here", "published": "paper", "difference": "diff."}
_GAP = 2  # between columns


def print_tables(tables: Sequence[Table]) -> None:
    """Print all tables to the standard output."""
    console = Console(highlight=False)
    for table in tables:
        console.print(Text(f"{table.group} · {table.title}", style="bold"), soft_wrap=True)
        for parts in _fitting(table, console.width):
            console.print(_rich(table, parts))
        for note in table.notes:
            console.print(Text(note, style="dim"))
        console.print()


def _fitting(table: Table, width: int) -> list[list[Part]]:
    """The printed columns in portions that fit; what belongs to one metric stays together."""
    labels = sum(_wide([header, *(row.labels[i] for row in table.rows)]) for i, header in enumerate(table.headers))
    portions: list[list[Part]] = [[]]
    free = room = width - labels - 2  # the box has an empty edge on both sides
    for _, members in groupby(table.parts, key=lambda part: part.column.key):
        metric = list(members)
        takes = sum(_wide([*_heads(part), *(_text(part, row) for row in table.rows)]) for part in metric)
        if portions[-1] and takes > free:
            portions.append([])
            free = room
        portions[-1] += metric
        free -= takes
    return portions


def _rich(table: Table, parts: Sequence[Part]) -> RichTable:
    rich = RichTable(box=SIMPLE_HEAD, padding=(0, _GAP, 0, 0), pad_edge=False)
    for header in table.headers:
        rich.add_column(Text(f"\n{header}"), no_wrap=True)
    shown = None
    for part in parts:
        title, kind = _heads(part)
        rich.add_column(Text(f"{title if part.column.key != shown else ''}\n{kind}"), justify="right", no_wrap=True)
        shown = part.column.key
    for row in table.rows:
        cells = [*map(Text, row.labels), *(Text(_text(part, row)) for part in parts)]
        rich.add_row(*cells, style="bold" if row.is_average else None, end_section=row.is_average)
    return rich


def _heads(part: Part) -> tuple[str, str]:
    return part.column.title, _HEADS[part.kind]


def _text(part: Part, row: Row) -> str:
    return part.text(row).replace(" ± ", "±")


def _wide(texts: Sequence[str]) -> int:
    return max(map(cell_len, texts)) + _GAP
