"""`cpr report` over runs as they lie on the disk."""

import json
import shutil
from pathlib import Path

import pytest
from e2e_helpers import Trained, call_cpr, half_files, metrics_of, rows_of, run_cpr

FILES = {"report.html", "report.csv", "report.md", "report.tex"}


@pytest.fixture
def runs(trained: Trained, tmp_path: Path) -> Path:
    """A sweep of two seeds, of which the second is 0.1 better in PRO; only what a report reads of them."""
    folder = tmp_path / "runs"
    for number in range(2):
        run = folder / f"{number}_washer"
        run.mkdir(parents=True)
        shutil.copy(trained.folder / "config.yaml", run)
        content = metrics_of(trained.folder) | {"seed": 66 + number, "pro": 0.5 + 0.1 * number}
        (run / "metrics.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_two_seeds_are_a_mean_and_a_spread(runs: Path):
    done = run_cpr("report", "runs=runs", cwd=runs.parent)
    assert done.status == 0, done.out + done.err
    assert {path.name for path in (runs / "report").iterdir()} == FILES
    lines = {(line["row"], line["metric"]): line for line in rows_of(runs / "report" / "report.csv")}
    washer = lines["washer", "pro"]
    assert (washer["dataset"], washer["variant"], washer["seeds"]) == ("tiny", "cpr", "2")
    assert float(washer["measured"]) == pytest.approx(55)
    assert float(washer["spread"]) == pytest.approx(50**0.5)
    assert lines["weave", "pro"]["measured"] == ""
    assert (lines["average", "pro"]["categories"], lines["average", "pro"]["of_categories"]) == ("1", "2")
    for word in ("55.0±7.1", "55.0 (1/2)", "weave", "2 runs: backbone resnet18, 384 numbers a descriptor, 6 steps"):
        assert word in done.out
    assert "55.0 ± 7.1" in (runs / "report" / "report.md").read_text(encoding="utf-8")
    assert r"55.0 $\pm$ 7.1" in (runs / "report" / "report.tex").read_text(encoding="utf-8")
    assert "runs/report/report.csv" in done.out
    again = call_cpr("report", "runs=runs", "output=elsewhere", cwd=runs.parent)
    assert again.status == 0
    assert (runs.parent / "elsewhere" / "report.csv").read_bytes() == (runs / "report" / "report.csv").read_bytes()


def test_a_run_as_it_was_trained_is_read(trained: Trained, tmp_path: Path):
    done = call_cpr("report", f"runs={trained.folder}", "output=here", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    lines = {(line["row"], line["metric"]): line for line in rows_of(tmp_path / "here" / "report.csv")}
    for metric in ("image_auroc", "pixel_auroc", "pixel_ap", "pro"):
        assert float(lines["washer", metric]["measured"]) == pytest.approx(100 * metrics_of(trained.folder)[metric])


def test_what_is_skipped_is_named_and_the_status_is_1(runs: Path):
    (runs / "broken").mkdir()
    (runs / "broken" / "metrics.json").write_text("{", encoding="utf-8")
    (runs / "begun").mkdir()
    (runs / "begun" / "config.yaml").touch()
    done = call_cpr("report", "runs=runs", cwd=runs.parent)
    assert done.status == 1
    assert "55.0±7.1" in done.out
    said = done.err.splitlines()
    assert [line.partition(":")[2].split()[:2] for line in said] == [
        ["skipped", f"runs/{n}:"] for n in ("begun", "broken")
    ]
    assert "no metrics.json" in said[0]
    assert "not JSON" in said[1]
    text = (runs / "report" / "report.md").read_text(encoding="utf-8")
    assert "## Skipped" in text
    assert "runs/broken" in text


def test_a_newer_run_of_the_same_settings_replaces_the_older(runs: Path):
    shutil.copytree(runs / "0_washer", runs / "again")
    newer = runs / "again" / "metrics.json"
    newer.write_text(json.dumps(metrics_of(runs / "0_washer") | {"pro": 0.6}), encoding="utf-8")
    done = call_cpr("report", "runs=runs", cwd=runs.parent)
    assert done.status == 0, done.err
    assert "Replaced   runs/0_washer: runs/again is newer" in done.out
    assert "60.0±0.0" in done.out


def test_methods_can_be_grouped_and_differences_ignored(runs: Path):
    config = runs / "1_washer" / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("max_steps: 6", "max_steps: 7"), encoding="utf-8")
    done = call_cpr("report", "runs=runs", cwd=runs.parent)
    assert "cpr (training.max_steps=6)" in done.out
    assert "cpr (training.max_steps=7)" in done.out
    done = call_cpr("report", "runs=runs", "ignore=training.max_steps", cwd=runs.parent)
    assert "55.0±7.1" in done.out
    done = call_cpr("report", "runs=runs", "group=training.max_steps,variant", cwd=runs.parent)
    assert "tiny, unsupervised, training.max_steps=7, variant=cpr" in done.out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["runs=…", "a folder of runs"]),
        (["runs=nowhere"], ["runs=nowhere", "not a folder"]),
        (["runs=empty"], ["runs=empty", "no finished run", "metrics.json"]),
        (["runs=runs", "outptu=x"], ["outptu", "Did you mean output"]),
        (["runs=runs", "methods=some"], ["methods=some", "cpr, all"]),
        (["runs=runs", "group=backbone.nam"], ["group=backbone.nam", "Did you mean backbone.name"]),
        (["runs=runs", "ignore=seed"], ["ignore=seed"]),
        (["runs=runs", "output=file"], ["output=file", "is a file"]),
        (["runs=runs", "pictures=many"], ["pictures=many", "whole number"]),
        (["runs=runs", "pictures=-1"], ["pictures=-1", "0 or more"]),
        (["runs=runs", "output=file/below"], ["output=file/below", "file is a file"]),
        (["runs"], ["`runs`", "key=value"]),
    ],
)
def test_what_cannot_be_used_is_refused_and_leaves_nothing(words: list[str], parts: list[str], runs: Path):
    (runs.parent / "empty").mkdir()
    (runs.parent / "file").touch()
    before = sorted(runs.parent.rglob("*"))
    said = call_cpr("report", *words, cwd=runs.parent).sentence()
    for part in parts:
        assert part in said
    assert sorted(runs.parent.rglob("*")) == before
    assert half_files(runs.parent) == []


def test_the_help_says_what_it_does(tmp_path: Path):
    done = call_cpr("report", "--help", cwd=tmp_path)
    assert done.status == 0
    for word in ("runs", "output", "methods", "group", "ignore", "standard deviation", "newer"):
        assert word in done.out
    assert "cpr report" in call_cpr("--help", cwd=tmp_path).out
