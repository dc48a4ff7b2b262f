"""``report.html``: all runs on one page that needs neither network nor server.

The page holds its data as JSON, its pictures as ``data:`` addresses, and a script that makes tables and charts of them.
What finds no room in it is linked relatively to the page's folder.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from cpr_lightning.evaluation.report import PALETTE
from cpr_lightning.files import write_text
from cpr_lightning.reporting.collect import Collected
from cpr_lightning.reporting.grouping import Group, group_records
from cpr_lightning.reporting.page_pictures import Pictures
from cpr_lightning.reporting.page_runs import Opened, describe, fill, link, open_run
from cpr_lightning.reporting.records import METRICS, Record

PICTURES = 12  # megabytes
_SCRIPTS = ("dom", "format", "measure", "filters", "leaderboard", "heat", "scatter", "bars", "curves", "run", "main")


def write_page(
    path: Path, title: str, collected: Collected, *, keys: Sequence[str] = (), megabytes: int = PICTURES
) -> None:
    """Write the page; a reader never sees half of it.

    Args:
        path: the HTML file.
        title: the heading.
        collected: at least one run.
        keys: settings to group by, besides data set and scenario.
        megabytes: room for pictures; the most telling ones of every run come first.
    """
    groups = group_records(collected.records, keys)
    runs = [open_run(record) for record in collected.records]
    pictures = Pictures(1_000_000 * megabytes)
    fill(pictures, runs)
    described = [describe(run, pictures, path.parent) for run in runs]
    overview = _overview(title, collected, groups, runs, path.parent) | {"left_out": pictures.left_out}
    parts = [_json("overview", overview)]
    parts += [_json(f"run-{number}", run) for number, run in enumerate(described)]
    parts += [
        f'<script type="text/plain" id="picture-{number}">{address}</script>'
        for number, address in enumerate(pictures.addresses)
    ]
    source = files("cpr_lightning.reporting").joinpath("page")
    page = Template(source.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=escape(title.encode("utf-8", "backslashreplace").decode("utf-8")),
        style=PALETTE + source.joinpath("page.css").read_text(encoding="utf-8"),
        script="\n".join(source.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS),
        data="\n".join(parts),
    )
    write_text(path, page)


def _overview(
    title: str, collected: Collected, groups: Sequence[Group], runs: Sequence[Opened], page: Path
) -> dict[str, Any]:
    """What the page's script needs before a run is opened."""
    methods = [(number, group, method) for number, group in enumerate(groups) for method in group.methods]
    of_record = {id(record): n for n, (*_, method) in enumerate(methods) for record in method.records}
    common = _common([record.settings for record in collected.records])
    return {
        "title": title,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "groups": [
            {"label": group.label, "categories": [row.name for row in group.rows if not row.is_average]}
            for group in groups
        ],
        "methods": [
            {"group": number, "variant": method.variant, "ablation": method.ablation, "label": method.label}
            | {"settings": list(method.settings)}
            for number, _, method in methods
        ],
        "settings": common,
        "runs": [_run(run.record, of_record[id(run.record)], common, page) for run in runs],
        "replaced": [[str(older.folder), str(newer.folder)] for older, newer in collected.replaced],
        "skipped": [[str(where), reason] for where, reason in collected.skipped],
    }


def _run(record: Record, method: int, common: Mapping[str, str], page: Path) -> dict[str, Any]:
    speed = record.speed
    return {
        "method": method,
        "folder": str(record.folder),
        "link": link(record.folder, page) + "/",
        "metrics": {name: record.metrics.get(name) for name in METRICS},
        "speed": None if speed is None else speed.images_per_second,
        "condition": None if speed is None else speed.condition,
        "written": datetime.fromtimestamp(record.written, UTC).strftime("%Y-%m-%d %H:%M"),
        "settings": {key: value for key, value in record.settings.items() if key not in common},
        **{key: getattr(record, key) for key in ("dataset", "scenario", "category", "variant", "ablation", "seed")},
        **{key: getattr(record, key) for key in ("backbone", "steps", "dim", "n_reference", "n_test")},
    }


def _common(settings: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The settings that all runs have alike."""
    first, *others = settings
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


def _json(name: str, content: Any) -> str:
    """JSON as an element of a page. No sign in it can end the element, whatever a category or a folder is called."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json" id="{name}">{text}</script>'
