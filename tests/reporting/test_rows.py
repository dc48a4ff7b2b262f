"""Rows of a data set's table, against the tables of the paper."""

import pytest

from cpr_lightning.reporting import published
from cpr_lightning.reporting.rows import rows_of


@pytest.mark.parametrize(
    ("dataset", "scenario"),
    [
        ("mvtec", "unsupervised"),
        ("mvtec3d", "unsupervised"),
        ("btad", "unsupervised"),
        ("mvtec", "supervised"),
        ("btad", "supervised"),
    ],
)
def test_rows_are_those_of_the_paper_in_its_order(dataset: str, scenario: str):
    rows = rows_of(dataset, {})
    figures = published.category_figures(dataset, scenario)["CPR"]
    assert [row.name for row in rows] == list(dict.fromkeys(row for row, _ in figures))
    assert [row.name for row in rows if row.is_average] == [row.name for row in rows if "average" in row.name]
    categories = [row.name for row in rows if not row.is_average]
    assert sorted(rows[-1].members) == sorted(categories)


def test_labels():
    labels = [row.label for row in rows_of("mvtec", {})]
    assert [label for label in labels if label[0].isupper()] == ["Texture average", "Object average", "Total average"]
    assert "metal_nut" in labels


def test_other_data_sets_have_their_own_categories():
    rows = rows_of("visa", {"candle": "object"})
    assert len(rows) == 13
    assert (rows[-1].name, len(rows[-1].members)) == ("average", 12)
    assert [row.name for row in rows_of("tiny", {})] == ["washer", "weave", "average"]


def test_of_an_unknown_data_set_what_was_found_is_all_of_it():
    assert [row.name for row in rows_of("folder", {"gear": "object"})] == ["gear"]
    assert [row.name for row in rows_of("folder", {"b": "object", "a": None})] == ["a", "b", "average"]
    kinds = {"c": "texture", "a": "object", "d": "texture", "b": "object"}
    names = ["c", "d", "texture_average", "a", "b", "object_average", "total_average"]
    assert [row.name for row in rows_of("folder", kinds)] == names
    names = ["a", "b", "c", "d", "e", "average"]
    assert [row.name for row in rows_of("folder", {**kinds, "e": None})] == names


def test_a_category_of_ones_own_is_shown_and_in_no_average():
    rows = rows_of("btad", {"gear": "object"})
    assert [row.name for row in rows] == ["01", "02", "03", "gear", "average"]
    assert rows[-1].members == ("01", "02", "03")
