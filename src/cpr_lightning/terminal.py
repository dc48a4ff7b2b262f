"""Bars: drawn in a terminal of this process's own, and nowhere else; tables, as wide as they are where nobody says."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn
from rich.table import Table

_WIDEST = 2000  # columns
_plain: list[bool] = []  # who asked for plain lines


def draws_bars() -> bool:
    """False where what is drawn over itself would be a mess: a pipe, a log file, a cell of a sweep with a table."""
    return not _plain and sys.stderr.isatty()


def bar(*columns: str | ProgressColumn, **options: Any) -> Progress:
    """A bar on stderr that vanishes at its end; it shows nothing where none may be drawn."""
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not draws_bars(), **options)


def print_table(table: Table) -> None:
    """Print to stdout and cut nothing: a pipe or a file has no edge, and a terminal can break lines."""
    console = Console()
    if not console.is_terminal:
        whole = console.measure(table, options=console.options.update(width=_WIDEST)).maximum
        console.width = max(console.width, whole)
    console.print(table, crop=False)


@contextmanager
def plainly() -> Iterator[None]:
    """No bars in this block."""
    _plain.append(True)
    try:
        yield
    finally:
        _plain.pop()
