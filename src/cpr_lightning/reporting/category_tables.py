"""Tables I and III–VI: categories and averages of one method."""

from cpr_lightning.reporting import published
from cpr_lightning.reporting.cells import Cell, Column, Row, Table, table_name
from cpr_lightning.reporting.grouping import Group, Method
from cpr_lightning.reporting.measured import measure
from cpr_lightning.reporting.notes import notes_on_cells, notes_on_published, notes_on_runs, notes_on_seeds
from cpr_lightning.reporting.rows import CategoryRow

TITLES = {"pixel_ap": "AP", "pro": "PRO", "pixel_auroc": "pixel AUROC", "image_auroc": "image AUROC"}


def category_table(group: Group, method: Method) -> Table:
    """Rows: categories and averages; columns: the metrics, in the order of Table I."""
    source = published.source(group.dataset, group.scenario, method.variant, method.ablation)
    rows = []
    for row in group.rows:
        cells = {metric: category_cell(group, method, row, metric) for metric in TITLES}
        # The paper has it of the whole data set alone: Table II lays it beside that.
        cells["image_auroc"] = Cell(cells["image_auroc"].measured)
        rows.append(Row((row.label,), cells, row.is_average, {"row": row.name}))
    of_categories = any(cell.published is not None for row in rows for cell in row.cells.values() if not row.is_average)
    notes = [*notes_on_runs(method), *notes_on_cells(rows), *notes_on_seeds(method, group.rows)]
    return Table(
        name=table_name("categories", group.label, method.label),
        group=group.label,
        title=f"{method.label} ({'' if of_categories else 'averages: '}{source})" if source else method.label,
        headers=("category",),
        columns=[Column(metric, title, facts={"metric": metric}) for metric, title in TITLES.items()],
        rows=rows,
        notes=notes + notes_on_published(group, method),
        facts={"dataset": group.dataset, "scenario": group.scenario, **group.facts(method)},
    )


def category_cell(group: Group, method: Method, row: CategoryRow, metric: str) -> Cell:
    """A category or an average: what a method measured, and what the paper has."""
    figures = published.figures_of(group.dataset, group.scenario, method.variant, method.ablation)
    return Cell(measure(method.records, row, metric), figures.get((row.name, metric)))
