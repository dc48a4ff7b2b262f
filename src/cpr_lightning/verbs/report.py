"""``cpr report``: tables over many runs, measured beside published."""

import sys
from enum import Enum
from pathlib import Path

from cpr_lightning.reporting.making import Report, make_report
from cpr_lightning.reporting.page import PICTURES
from cpr_lightning.reporting.terminal import print_tables
from cpr_lightning.verbs.arguments import choose, parse, whole_number


class Methods(Enum):
    """Whose published numbers are shown."""

    cpr = "cpr"
    all = "all"


_HELP = """\
Lay what the runs below a folder measured beside what the paper published, in the layout of its tables: categories and
averages for each data set, scenario and method; ablations (Table VII) and variants (Table VIII) where there are
several.

Runs that differ in category and seed alone are one method: mean ± sample standard deviation over its seeds. Of two runs
with the same settings, category and seed the newer counts. Where methods of one name differ in a setting, it stands
behind the name.
"""
_KEYS = {
    "runs": "a folder of runs or sweeps, such as outputs or multirun; looked through to the bottom",
    "output": "folder for report.html, report.csv, report.md and report.tex (runs/report)",
    "methods": "cpr, all: with the published numbers of other authors' methods (cpr)",
    "group": "settings that make tables of their own, besides data set and scenario: backbone.name,seed (none)",
    "ignore": "settings in which runs of one method may differ: training.max_steps (none)",
    "pictures": f"megabytes of pictures inside report.html; it links to those that find no room ({PICTURES})",
}


def main(words: list[str]) -> int:
    """Run the verb: 1 if something was skipped."""
    if any(word in ("-h", "--help") for word in words):
        print(_HELP)
    values = parse("report", words, _KEYS, required=("runs",))
    if values is None:
        return 0
    methods = choose(values, "methods", Methods) or Methods.cpr
    runs = Path(values["runs"]).expanduser()
    report = make_report(
        runs,
        Path(values.get("output") or runs / "report").expanduser(),
        group=_listed(values.get("group", "")),
        ignore=_listed(values.get("ignore", "")),
        all_methods=methods is Methods.all,
        megabytes=whole_number("pictures", values.get("pictures", str(PICTURES)), least=0),
    )
    print_report(report)
    return 1 if report.collected.skipped else 0


def print_report(report: Report) -> None:
    """The tables, the files they stand in, and what was left out."""
    print_tables(report.tables)
    # Printed plainly: a path must not be wrapped, or it cannot be copied.
    for older, newer in report.collected.replaced:
        print(f"Replaced   {older.folder}: {newer.folder} is newer, with the same settings, category and seed")
    for path in report.files:
        print(f"Report     {path}")
    for path, reason in report.collected.skipped:
        print(f"cpr: skipped {path}: {reason}", file=sys.stderr)


def _listed(value: str) -> list[str]:
    return [key.strip() for key in value.split(",") if key.strip()]
