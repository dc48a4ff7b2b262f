"""Which points stand in the speed–accuracy figure, and where."""

import json
from pathlib import Path
from typing import Any

import pytest

from cpr_lightning import speed_figure
from cpr_lightning.data import categories
from cpr_lightning.errors import RunError
from cpr_lightning.visual.scatter import Point, Sort


def write_run(folder: Path, category: str, pixel_ap: float, images_per_second: float | None) -> None:
    folder.mkdir(parents=True)
    facts = {"dataset": "mvtec", "variant": "fast", "ablation": "full", "scenario": "unsupervised", "kind": "object"}
    metrics = dict.fromkeys(("image_auroc", "pixel_auroc", "pro"), 0.9) | {"pixel_ap": pixel_ap}
    content = facts | metrics | {"category": category, "seed": 66, "backbone": "resnet18", "steps": 1}
    (folder / "metrics.json").write_text(json.dumps(content), encoding="utf-8")
    if images_per_second is not None:
        timed = {"device": "cpu", "runtime": "eager", "precision": "fp32", "batch": 1, "threads": 1}
        timed |= {"images_per_second": images_per_second, "environment": {"processor": "a processor", "gpu": None}}
        (folder / "benchmark.json").write_text(json.dumps(timed), encoding="utf-8")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What was given to be drawn."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(speed_figure, "draw_scatter", lambda points, **others: given.update(others, points=points))
    return given


def measured(drawn: dict[str, Any]) -> list[Point]:
    return [point for point in drawn["points"] if point.sort is Sort.measured]


def test_a_variant_is_a_point_at_its_averages(tmp_path: Path, drawn: dict[str, Any]) -> None:
    for number, category in enumerate(categories.MVTEC):
        write_run(tmp_path / category, category, 0.5 + number / 100, 20.0 + number)
    speed_figure.draw_speed(tmp_path, "pixel_ap", tmp_path / "a.png")
    (point,) = measured(drawn)
    assert (point.label, point.images_per_second, point.accuracy) == ("fast", pytest.approx(27), pytest.approx(57))
    assert any("a processor" in note for note in drawn["notes"])


def test_an_average_over_some_categories_says_so(tmp_path: Path, drawn: dict[str, Any]) -> None:
    write_run(tmp_path / "a", "bottle", 0.5, 20.0)
    write_run(tmp_path / "b", "screw", 0.7, None)
    speed_figure.draw_speed(tmp_path, "pixel_ap", tmp_path / "a.png")
    (point,) = measured(drawn)
    assert point.label == "fast (2/15 categories)"
    assert point.images_per_second == 20


def test_published_points_are_those_of_table_8(tmp_path: Path, drawn: dict[str, Any]) -> None:
    write_run(tmp_path / "a", "bottle", 0.5, 20.0)
    speed_figure.draw_speed(tmp_path, "pixel_ap", tmp_path / "a.png")
    points = {(point.label, point.sort): (point.images_per_second, point.accuracy) for point in drawn["points"]}
    assert points["CPR", Sort.own] == (113, 82.7)
    assert points["CPR-Faster", Sort.own] == (478, 80.6)
    assert points["SemiREST", Sort.other] == (8, 81.2)
    tensorrt = {point[:3] for point in drawn["points"] if point.sort is Sort.own_tensorrt}
    assert tensorrt == {("", 130, 82.7), ("", 362, 82.3), ("", 1016, 80.6)}
    # SemiREST has no image AUROC, so it has no place in that figure.
    speed_figure.draw_speed(tmp_path, "image_auroc", tmp_path / "a.png")
    assert "SemiREST" not in {point.label for point in drawn["points"]}
    assert ("CPR", 113, 99.7) in {point[:3] for point in drawn["points"]}


def test_runs_that_were_not_timed_are_no_points(tmp_path: Path, drawn: dict[str, Any]) -> None:
    write_run(tmp_path / "a", "bottle", 0.5, None)
    with pytest.raises(RunError, match="cpr benchmark run="):
        speed_figure.draw_speed(tmp_path, "pixel_ap", tmp_path / "a.png")
    assert drawn == {}
