"""Bars: drawn in a terminal of this process's own, and nowhere else."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn

_plain: list[bool] = []  # who asked for plain lines


def draws_bars() -> bool:
    """False where what is drawn over itself would be a mess: a pipe, a log file, a cell of a sweep with a table."""
    return not _plain and sys.stderr.isatty()


def bar(*columns: str | ProgressColumn, **options: Any) -> Progress:
    """A bar on stderr that vanishes at its end; it shows nothing where none may be drawn."""
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not draws_bars(), **options)


@contextmanager
def plainly() -> Iterator[None]:
    """No bars in this block."""
    _plain.append(True)
    try:
        yield
    finally:
        _plain.pop()
