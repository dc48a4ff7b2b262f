"""What the reader of a table must know: of which runs it is, what is missing, and what it is compared with."""

from collections.abc import Iterable, Sequence

from cpr_lightning.reporting import published
from cpr_lightning.reporting.cells import Row
from cpr_lightning.reporting.grouping import Group, Method
from cpr_lightning.reporting.measured import fitting_speeds
from cpr_lightning.reporting.rows import CategoryRow


def notes_on_cells(rows: Iterable[Row]) -> list[str]:
    """What the mark of an incomplete average means, where there is one."""
    measured = [cell.measured for row in rows for cell in row.cells.values() if cell.measured is not None]
    if all(number.complete for number in measured):
        return []
    return [
        "(3/5): an average over 3 of 5 categories, because the others were not measured; it is not compared with the "
        "published average, which is over all."
    ]


def notes_on_runs(method: Method) -> list[str]:
    """Backbone, descriptors, steps and seeds of a method's runs."""
    runs = method.records
    parts = [
        f"backbone {_listed(record.backbone for record in runs)}",
        f"{_listed(record.dim for record in runs)} numbers a descriptor" if any(record.dim for record in runs) else "",
        f"{_listed(record.steps for record in runs)} steps",
        f"seeds {_listed(record.seed for record in runs)}",
    ]
    return [f"{len(runs)} run{'s' * (len(runs) > 1)}: {', '.join(part for part in parts if part)}."]


def notes_on_seeds(method: Method, rows: Sequence[CategoryRow]) -> list[str]:
    """Averages over fewer seeds than there are, and categories that are in none."""
    members = set(rows[-1].members)
    by_seed: dict[int, set[str]] = {}
    for record in method.records:
        by_seed.setdefault(record.seed, set()).add(record.category)
    short = {seed: members - there for seed, there in sorted(by_seed.items()) if members - there}
    notes = []
    there = set().union(*by_seed.values())
    if members <= there and len(short) == len(by_seed):
        notes.append("No seed has all categories: averages are over the means of the categories, and have no spread.")
    elif members <= there and short:
        lacks = "; ".join(f"seed {seed} lacks {', '.join(sorted(missing))}" for seed, missing in short.items())
        notes.append(f"Averages are over the seeds that have all of their categories: {lacks}.")
    more = sorted({record.category for record in method.records} - members)
    if more:
        notes.append(f"In no average, because the data set has no such category: {', '.join(more)}.")
    return notes


def notes_on_published(group: Group, method: Method) -> list[str]:
    """What makes the published numbers hard to compare."""
    if published.source(group.dataset, group.scenario, method.variant, method.ablation) is None:
        return [f"The paper has no numbers of {method.label} on {group.dataset}, {group.scenario}."]
    theirs = published.BACKBONES.get(method.variant)
    others = {record.backbone for record in method.records} - {theirs, None}
    return [f"Not the paper's network: it has {theirs} for {method.variant}."] if others and theirs else []


def notes_on_methods(group: Group, methods: Sequence[Method]) -> list[str]:
    """The same of several methods, each once."""
    of_each = [f"{method.label}: {note}" for method in methods for note in notes_on_runs(method)]
    common = [
        note for method in methods for note in (*notes_on_seeds(method, group.rows), *notes_on_published(group, method))
    ]
    return [*of_each, *dict.fromkeys(common)]


def notes_on_speed(group: Group, methods: Iterable[Method]) -> list[str]:
    """What computed the speeds of a table."""
    runs = [run for method in methods for tensorrt in (False, True) for run in fitting_speeds(method.records, tensorrt)]
    conditions = sorted({record.speed.condition for record in runs if record.speed is not None})
    if not conditions:
        return []
    theirs = (
        f" Published: {published.MACHINE}, batch 1." if published.speed_figures(group.dataset, group.scenario) else ""
    )
    return [f"images/s: measured with {'; '.join(conditions)}.{theirs}"]


def _listed(values: Iterable[object]) -> str:
    texts = {str(value) for value in values if value is not None}
    return ", ".join(sorted(texts, key=lambda text: (len(text), text))) or "unknown"  # numbers by size
