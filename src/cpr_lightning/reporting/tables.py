"""All tables that a set of runs fills."""

from collections.abc import Sequence

from cpr_lightning.reporting.category_tables import category_table
from cpr_lightning.reporting.cells import Table
from cpr_lightning.reporting.comparison_tables import comparison_tables
from cpr_lightning.reporting.grouping import Group, group_records
from cpr_lightning.reporting.method_tables import ablation_table, image_auroc_table, variant_table
from cpr_lightning.reporting.records import Record


def build_tables(records: Sequence[Record], keys: Sequence[str] = (), *, all_methods: bool = False) -> list[Table]:
    """For each data set and scenario: categories of each method, then the methods over the whole of it.

    Args:
        records: each cell once.
        keys: settings to make tables of their own for, besides data set and scenario.
        all_methods: with the numbers of other authors' methods, where the paper has them.
    """
    return [table for group in group_records(records, keys) for table in _of_group(group, all_methods)]


def _of_group(group: Group, all_methods: bool) -> list[Table]:
    variants = list(dict.fromkeys(method.variant for method in group.methods))
    tables: list[Table | None] = [category_table(group, method) for method in group.methods]
    tables += comparison_tables(group) if all_methods else []
    tables.append(image_auroc_table(group, all_methods))
    tables += [ablation_table(group, variant) for variant in variants]
    tables.append(variant_table(group, all_methods))
    return [table for table in tables if table is not None]
