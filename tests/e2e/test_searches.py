"""A search for settings from the command line."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from e2e_helpers import call_cpr, metrics_of, rows_of, small

pytestmark = pytest.mark.skipif(find_spec("optuna") is None, reason="the extra optuna is not installed")


def search_words(tiny: Path, bench: Path, folder: Path, *more: str) -> list[str]:
    words = [word for word in small(tiny, bench / "x", "training.max_steps=2") if not word.startswith("hydra.run.dir")]
    return [*words, "search=optuna", "validation.images=2", f"hydra.sweep.dir={folder}", "-m", *more]


def test_a_search_has_the_mean_over_categories_and_can_be_gone_on_with(tiny: Path, bench: Path, tmp_path: Path):
    space = ["category=washer,weave", "branch.dim=8,16", "scoring.blur_sigma=interval(1.0,4.0)"]
    words = search_words(tiny, bench, tmp_path / "s", *space)
    done = call_cpr(*words, "search.trials=2", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    rows = rows_of(tmp_path / "s" / "search.csv")
    assert [row["trial"] for row in rows] == ["0", "1"]
    for row in rows:
        cells = [metrics_of(run) for run in (tmp_path / "s").glob(f"trial000{row['trial']}_*") if run.is_dir()]
        assert {cell["category"] for cell in cells} == {"washer", "weave"}
        assert float(row["validation_score"]) == pytest.approx(sum(cell["validation_score"] for cell in cells) / 2)
        assert row["settings"].startswith("branch.dim=")
    best = max(rows, key=lambda row: float(row["validation_score"]))
    assert f"Best       {best['settings']}" in done.out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").glob("*/metrics.json")}
    done = call_cpr(*words, "search.trials=3", "sweep.resume=true", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    assert rows_of(tmp_path / "s" / "search.csv")[:2] == rows
    assert len(rows_of(tmp_path / "s" / "search.csv")) == 3
    assert before.items() <= {path: path.stat().st_mtime_ns for path in (tmp_path / "s").glob("*/metrics.json")}.items()


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (["branch.dim=8,16", "validation.images=0"], ["validation.images=0", "validation_score"]),
        ([], ["nothing to choose"]),
        (["branch.dim=8,16", "search.trials=0"], ["search.trials=0"]),
        (["branch.dmi=8,16"], ["branch.dmi", "branch.dim"]),
        (["branch.dim=8,16", "search.trails=2"], ["trails"]),
    ],
)
def test_what_cannot_be_searched_is_refused(more: list[str], parts: list[str], tiny: Path, bench: Path, tmp_path: Path):
    said = call_cpr(*search_words(tiny, bench, tmp_path / "s", *more), cwd=tmp_path).sentence()
    for part in parts:
        assert part in said
    assert not (tmp_path / "s").exists()


def test_an_interval_is_no_sweep(tiny: Path, bench: Path, tmp_path: Path):
    words = search_words(tiny, bench, tmp_path / "s", "search=none", "scoring.blur_sigma=interval(1.0,4.0)")
    assert "search=optuna" in call_cpr(*words, cwd=tmp_path).sentence()
