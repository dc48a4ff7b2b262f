"""A report over a folder of runs: collected, made into tables, written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cpr_lightning.errors import SettingsError
from cpr_lightning.files import write_text
from cpr_lightning.reporting.as_csv import write_tables_csv
from cpr_lightning.reporting.as_latex import latex
from cpr_lightning.reporting.as_markdown import markdown
from cpr_lightning.reporting.cells import Table
from cpr_lightning.reporting.collect import Collected, collect
from cpr_lightning.reporting.compared import check_keys
from cpr_lightning.reporting.grouping import GROUP_KEYS
from cpr_lightning.reporting.page import PICTURES, write_page
from cpr_lightning.reporting.tables import build_tables


@dataclass(frozen=True)
class Report:
    """What was found, and the tables and files made of it."""

    collected: Collected
    tables: list[Table]
    files: list[Path]


def make_report(
    runs: Path,
    output: Path,
    *,
    group: Sequence[str] = (),
    ignore: Sequence[str] = (),
    all_methods: bool = False,
    megabytes: int = PICTURES,
) -> Report:
    """Write ``report.html``, ``report.csv``, ``report.md`` and ``report.tex`` on the runs below a folder.

    Args:
        runs: the folder, looked through to the bottom.
        output: for the four files, each written whole or not at all.
        group: settings that make tables of their own, besides data set and scenario.
        ignore: settings in which runs of one method may differ.
        all_methods: with the published numbers of other authors' methods.
        megabytes: room for pictures in ``report.html``.

    Raises:
        RunError: there is no finished run.
        SettingsError: one of ``group`` or ``ignore`` is no setting that methods are told apart by, or a file stands
            where ``output`` should be.
    """
    check_keys("ignore", ignore)
    check_keys("group", group, GROUP_KEYS)
    there = next(place for place in (output, *output.parents) if place.exists())
    if not there.is_dir():
        raise SettingsError(f"output={output} cannot be a folder, because {there} is a file. Choose another.")
    collected = collect(runs, ignore)
    tables = build_tables(collected.records, group, all_methods=all_methods)
    number = len(collected.records)
    title = f"{number} run{'s' * (number != 1)} below {runs}"
    write_tables_csv(output / "report.csv", tables)
    write_text(output / "report.md", markdown(title, tables, collected))
    write_text(output / "report.tex", latex(title, tables))
    write_page(output / "report.html", title, collected, keys=group, megabytes=megabytes)
    return Report(collected, tables, [output / f"report.{suffix}" for suffix in ("html", "csv", "md", "tex")])
