"""Which tables a set of runs fills, and what stands in them."""

from collections.abc import Iterable
from pathlib import Path

from cpr_lightning.data.categories import BTAD, MVTEC
from cpr_lightning.reporting.cells import MISSING, Part, Row, Table
from cpr_lightning.reporting.records import Record
from cpr_lightning.reporting.speeds import Speed
from cpr_lightning.reporting.tables import build_tables


def runs(
    categories: Iterable[str] = MVTEC,
    *,
    variant: str = "cpr",
    ablation: str = "full",
    dataset: str = "mvtec",
    backbone: str = "densenet201",
    seeds: Iterable[int] = (66,),
    pro: float = 0.9,
    speed: Speed | None = None,
) -> list[Record]:
    metrics = {"pixel_ap": 0.5, "pro": pro, "pixel_auroc": 0.8, "image_auroc": 0.99}
    return [
        Record(
            *(
                Path(),
                dataset,
                category,
                variant,
                ablation,
                "unsupervised",
                seed,
                metrics,
                {"config.yaml": "there"},
                0.0,
            ),
            backbone=backbone,
            speed=speed,
        )
        for category in categories
        for seed in seeds
    ]


def part(table: Table, title: str, kind: str) -> Part:
    return next(part for part in table.parts if (part.column.title, part.kind) == (title, kind))


def row(table: Table, label: str) -> Row:
    return next(row for row in table.rows if row.labels[0] == label)


def named(tables: list[Table], start: str) -> Table:
    found = [table for table in tables if table.name.startswith(start)]
    assert len(found) == 1, [table.name for table in tables]
    return found[0]


def test_categories_that_were_not_measured_are_missing_and_their_averages_marked():
    table = named(build_tables(runs(["carpet", "grid", "screw"])), "categories-")
    measured, difference = part(table, "PRO", "measured"), part(table, "PRO", "difference")
    assert table.title == "cpr (Table I)"
    assert [measured.text(row(table, name)) for name in ("carpet", "tile")] == ["90.0", MISSING]
    assert [difference.text(row(table, name)) for name in ("carpet", "tile")] == ["−7.6", MISSING]
    averages = ["Texture average", "Object average", "Total average"]
    assert [measured.text(row(table, name)) for name in averages] == ["90.0 (2/5)", "90.0 (1/10)", "90.0 (3/15)"]
    assert [difference.text(row(table, name)) for name in averages] == [MISSING] * 3
    assert part(table, "PRO", "published").text(row(table, "Total average")) == "97.8"
    assert any("3 of 5 categories" in note for note in table.notes)


def test_complete_averages_are_compared():
    table = named(build_tables(runs(seeds=(1, 2))), "categories-")
    assert part(table, "PRO", "measured").text(row(table, "Total average")) == "90.0 ± 0.0"
    assert part(table, "PRO", "difference").text(row(table, "Total average")) == "−7.8"
    assert part(table, "AP", "difference").text(row(table, "grid")) == "−14.0"
    assert part(table, "image AUROC", "measured").text(row(table, "grid")) == "99.0 ± 0.0"
    assert not any("3 of 5" in note for note in table.notes)
    assert any("seeds 1, 2" in note for note in table.notes)


def test_what_makes_numbers_hard_to_compare_is_said():
    (table,) = build_tables(runs(["gear"], dataset="folder"))
    assert [part.kind for part in table.parts] == ["measured"] * 4
    assert len(table.rows) == 1
    assert any("no numbers" in note for note in table.notes)
    tables = build_tables(runs(backbone="resnet18"))
    assert all("Not the paper's network: it has densenet201 for cpr." in table.notes for table in tables)
    uneven = runs(BTAD, dataset="btad", seeds=(1, 2)) + runs(["01", "02"], dataset="btad", seeds=(3,))
    (table,) = build_tables(uneven)
    assert any("seed 3 lacks 03" in note for note in table.notes)


def test_seven_rows_of_table_7_have_their_place():
    measured = runs(ablation="table7_2") + runs(ablation="no_global") + runs(ablation="full", pro=0.95)
    table = named(build_tables(measured), "ablations-")
    names = ["table7_1", "table7_2", "table7_3", "table7_4", "table7_5", "table7_6", "full", "no_global"]
    assert [row.labels[0] for row in table.rows] == names
    assert [part.column.title for part in table.parts][::3] == ["image AUROC", "pixel AUROC", "PRO", "AP"]
    pro = {kind: part(table, "PRO", kind) for kind in ("measured", "published", "difference")}
    shown = {name: [pro[kind].text(row(table, name)) for kind in pro] for name in names}
    assert shown["table7_1"] == [MISSING, "94.4", MISSING]
    assert shown["table7_2"] == ["90.0", "94.9", "−4.9"]
    assert shown["full"] == ["95.0", "97.8", "−2.8"]
    assert shown["no_global"] == ["90.0", MISSING, MISSING]
    assert row(table, "table7_2").labels[1:] == ("✓", "", "", "", "")
    assert row(table, "no_global").labels[1:] == ("", "✓", "✓", "✓", "✓")


def test_ablations_without_a_row_of_table_7_stand_alone():
    table = named(build_tables(runs() + runs(ablation="no_pair_weight") + runs(ablation="mine")), "ablations-")
    assert [row.labels[0] for row in table.rows] == ["full", "no_pair_weight", "mine"]
    assert part(table, "AP", "published").text(row(table, "no_pair_weight")) == "82.3"
    assert row(table, "mine").labels[1:] == ("?",) * 5
    others = named(build_tables(runs(variant="fast") + runs(variant="fast", ablation="no_global")), "ablations-")
    assert part(others, "AP", "published").text(row(others, "full")) == "82.3"
    assert [table.name for table in build_tables(runs())] == [
        "categories-mvtec-unsupervised-cpr",
        "image-auroc-mvtec-unsupervised",
    ]


def test_variants_and_their_speed():
    measured = runs() + runs(variant="faster", speed=Speed(25.25, False, "eager fp32, a machine"))
    table = named(build_tables(measured), "variants-")
    assert [row.labels[0] for row in table.rows] == ["cpr", "fast", "faster"]
    rate = {kind: part(table, "images/s", kind) for kind in ("measured", "published")}
    assert [rate["measured"].text(row) for row in table.rows] == [MISSING, MISSING, "25.2 ± 0.0"]
    assert [rate["published"].text(row) for row in table.rows] == ["113", "245", "478"]
    assert part(table, "AP", "difference").text(row(table, "faster")) == "−30.6"
    assert any("eager fp32, a machine" in note for note in table.notes)
    elsewhere = runs(BTAD, dataset="btad") + runs(BTAD, dataset="btad", variant="fast")
    assert [row.labels[0] for row in named(build_tables(elsewhere), "variants-").rows] == ["cpr", "fast"]


def test_other_methods_are_shown_when_asked_for():
    few, many = build_tables(runs()), build_tables(runs(), all_methods=True)
    assert {table.name for table in many} - {table.name for table in few} == {
        f"methods-mvtec-unsupervised-{metric}" for metric in ("pixel-ap", "pro", "pixel-auroc")
    }
    pro = named(many, "methods-mvtec-unsupervised-pro")
    assert [(part.column.title, part.kind) for part in pro.parts][:4] == [
        *(("cpr", kind) for kind in ("measured", "published", "difference")),
        ("PatchCore", "published"),
    ]
    assert part(pro, "PyramidFlow", "published").text(row(pro, "metal_nut")) == "91.4"
    ap = named(many, "methods-mvtec-unsupervised-pixel-ap")
    assert "PyramidFlow" not in {part.column.title for part in ap.parts}  # nobody published it
    assert row(named(many, "image-auroc"), "SimpleNet")
    assert len(build_tables(runs(["candle"], dataset="visa"), all_methods=True)) == 1
