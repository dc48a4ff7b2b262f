"""Tables I and III–VI with other authors' methods, a metric at a time."""

from cpr_lightning.reporting import published
from cpr_lightning.reporting.category_tables import TITLES, category_cell
from cpr_lightning.reporting.cells import Cell, Column, Row, Table, table_name
from cpr_lightning.reporting.grouping import Group
from cpr_lightning.reporting.notes import notes_on_cells, notes_on_methods


def comparison_tables(group: Group) -> list[Table]:
    """The whole method's variants beside the other methods of the paper's table; none where it has no such table."""
    figures = published.category_figures(group.dataset, group.scenario)
    others = {name: of_name for name, of_name in figures.items() if name != published.OWN}
    own = [method for method in group.methods if method.ablation == "full"]
    if not others or not own:
        return []
    published_metrics = {metric for of_name in others.values() for _, metric in of_name}
    columns = [Column(method.label, method.label, facts=group.facts(method)) for method in own]
    columns += [Column(name, name, can_be_measured=False, facts={"method": name}) for name in others]
    source = published.source(group.dataset, group.scenario, "cpr", "full")
    tables = []
    for metric in (metric for metric in TITLES if metric in published_metrics):
        rows = []
        for row in group.rows:
            cells = {method.label: category_cell(group, method, row, metric) for method in own}
            cells |= {name: Cell(None, of_name.get((row.name, metric))) for name, of_name in others.items()}
            rows.append(Row((row.label,), cells, row.is_average, {"row": row.name}))
        tables.append(
            Table(
                name=table_name("methods", group.label, metric),
                group=group.label,
                title=f"{TITLES[metric]} beside other methods ({source})",
                headers=("category",),
                columns=columns,
                rows=rows,
                notes=notes_on_cells(rows) + notes_on_methods(group, own),
                facts={"dataset": group.dataset, "scenario": group.scenario, "metric": metric},
            )
        )
    return tables
