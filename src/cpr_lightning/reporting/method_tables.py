"""Tables II, VII and VIII: methods over the whole data set."""

from cpr_lightning.reporting import published
from cpr_lightning.reporting.cells import RATE, Cell, Column, Row, Table, table_name
from cpr_lightning.reporting.grouping import Group, Method
from cpr_lightning.reporting.measured import measure, measure_speed
from cpr_lightning.reporting.notes import notes_on_cells, notes_on_methods, notes_on_speed
from cpr_lightning.reporting.published import SPEED, SPEED_TENSORRT
from cpr_lightning.reporting.rows import TOTAL_AVERAGE

_METRICS = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "pro": "PRO", "pixel_ap": "AP"}
_SPEEDS = {SPEED: "images/s", SPEED_TENSORRT: "images/s, TensorRT"}
_ACCURACY = [Column(metric, title, facts={"metric": metric}) for metric, title in _METRICS.items()]
_RATES = [Column(speed, title, RATE, facts={"metric": speed}) for speed, title in _SPEEDS.items()]
_MARKS = {True: "✓", False: "", None: "?"}
_ABLATION_NOTE = (
    "GRB: targeting by global retrieval. FEB: foreground. LRB: trained local branch. MS: both scales. PW: weights of "
    "remote pairs."
)


def image_auroc_table(group: Group, all_methods: bool) -> Table | None:
    """Table II: image AUROC of the whole method; None where the paper has none."""
    theirs = published.image_auroc_figures(group.dataset, group.scenario)
    own = [method for method in group.methods if method.ablation == "full"]
    if not theirs or not own:
        return None
    others = [
        _published_row(name, figures, (), {"method": name})
        for name, figures in theirs.items()
        if all_methods and name != published.OWN
    ]
    rows = others + [_row(group, method, (method.label,)) for method in own]
    return Table(
        name=table_name("image AUROC", group.label),
        group=group.label,
        title="image AUROC (Table II)",
        headers=("method",),
        columns=[column for column in _ACCURACY if column.key == "image_auroc"],
        rows=rows,
        notes=notes_on_cells(rows) + notes_on_methods(group, own),
        facts={"dataset": group.dataset, "scenario": group.scenario},
    )


def ablation_table(group: Group, variant: str) -> Table | None:
    """Table VII: the ablations of a variant; None where there is one alone."""
    methods = [method for method in group.methods if method.variant == variant]
    if len({method.ablation for method in methods}) < 2:
        return None
    rows = []
    for ablation, method in _in_rows_of_table_7(methods):
        parts = published.ablation_parts(ablation)
        marks = tuple(_MARKS[parts.get(part)] for part in published.PARTS)
        if method is not None:
            rows.append(_row(group, method, (ablation + method.differing, *marks)))
            continue
        figures = published.figures_of(group.dataset, group.scenario, variant, ablation)
        rows.append(_published_row(ablation, figures, marks, {"variant": variant, "ablation": ablation}))
    return Table(
        name=table_name("ablations", group.label, variant),
        group=group.label,
        title=f"ablations of {variant}{_number(group, 'Table VII')}",
        headers=("ablation", *published.PARTS),
        columns=_ACCURACY,
        rows=rows,
        notes=[_ABLATION_NOTE, *notes_on_cells(rows), *notes_on_methods(group, methods)],
        facts={"dataset": group.dataset, "scenario": group.scenario},
    )


def variant_table(group: Group, all_methods: bool) -> Table | None:
    """Table VIII: accuracy and speed of the variants; None where there is one alone, and it was not timed."""
    own = [method for method in group.methods if method.ablation == "full"]
    timed = any(record.speed is not None for method in own for record in method.records)
    there = {method.variant for method in own}
    if len(there) < 2 and not timed:
        return None
    theirs = published.speed_figures(group.dataset, group.scenario)
    rows = [
        _published_row(name, figures, (), {"method": name})
        for name, figures in theirs.items()
        if all_methods and name not in published.VARIANTS.values()
    ]
    missing = {variant for variant, name in published.VARIANTS.items() if name in theirs} - there
    for variant in dict.fromkeys((*published.VARIANTS, *(method.variant for method in own))):
        rows += [_row(group, method, (method.label,)) for method in own if method.variant == variant]
        if variant in missing:
            facts = {"variant": variant, "ablation": "full"}
            rows.append(_published_row(variant, theirs[published.VARIANTS[variant]], (), facts))
    return Table(
        name=table_name("variants", group.label),
        group=group.label,
        title=f"variants{_number(group, 'Table VIII')}",
        headers=("method",),
        columns=_ACCURACY + _RATES,
        rows=rows,
        notes=[*notes_on_speed(group, own), *notes_on_cells(rows), *notes_on_methods(group, own)],
        facts={"dataset": group.dataset, "scenario": group.scenario},
    )


def _number(group: Group, table: str) -> str:
    """The number of the paper's table behind a title, on the data set that it is about."""
    return f" ({table})" if published.speed_figures(group.dataset, group.scenario) else ""


def _in_rows_of_table_7(methods: list[Method]) -> list[tuple[str, Method | None]]:
    """Ablations in the order to show.

    Where a run names a row of Table VII, all seven have their place, with a run or without; ``no_pair_weight`` and
    ``full`` are the sixth and the seventh, and stand there where no run names the row.
    """
    rows: list[tuple[str, Method | None]] = []
    rest = list(methods)
    if any(method.ablation.startswith("table7_") for method in methods):
        for number in range(1, 8):
            name = f"table7_{number}"
            chosen = [method for method in rest if method.ablation == name]
            chosen = chosen or [method for method in rest if published.row_of_table_7(method.ablation) == number]
            rows += [(method.ablation, method) for method in chosen] or [(name, None)]
            rest = [method for method in rest if method not in chosen]
    return rows + [(method.ablation, method) for method in rest]


def _row(group: Group, method: Method, labels: tuple[str, ...]) -> Row:
    """A measured method, over the whole data set."""
    figures = published.figures_of(group.dataset, group.scenario, method.variant, method.ablation)
    whole = group.rows[-1]
    cells = {
        metric: Cell(measure(method.records, whole, metric), figures.get((whole.name, metric))) for metric in _METRICS
    }
    for speed in _SPEEDS:
        rate = measure_speed(method.records, tensorrt=speed == SPEED_TENSORRT)
        cells[speed] = Cell(rate, figures.get((whole.name, speed)))
    return Row(labels, cells, facts=group.facts(method) | {"row": whole.name})


def _published_row(label: str, figures: published.Figures, marks: tuple[str, ...], facts: dict[str, str]) -> Row:
    """A method, variant or ablation that was not measured."""
    cells = {metric: Cell(None, value) for (_, metric), value in figures.items()}
    return Row((label, *marks), cells, facts=facts | {"row": TOTAL_AVERAGE})
