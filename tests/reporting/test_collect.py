"""Which runs below a folder count, and what is said of the others."""

from pathlib import Path
from typing import Any

import pytest
from fabricated import write_benchmark, write_run

from cpr_lightning.errors import CprError
from cpr_lightning.reporting.collect import Collected, collect

GOOD = {"image_auroc": 0.9, "pixel_auroc": 0.8, "pixel_ap": 0.5, "pro": 0.7}
CONFIG = "backbone:\n  name: resnet18\n  weights: {weights}\nbranch:\n  dim: 64\ntraining:\n  max_steps: {steps}\n"


def config(steps: int = 150, weights: str = "random") -> str:
    return CONFIG.format(steps=steps, weights=weights)


def reason(found: Collected) -> str:
    """Why the one folder that was skipped was."""
    assert len(found.skipped) == 1, found.skipped
    return found.skipped[0].reason


def test_a_run_is_read_with_its_facts(tmp_path: Path):
    content = GOOD | {"kind": "texture", "n_reference": 264, "n_test": 78, "more": [1, 2]}
    write_run(tmp_path / "sweep" / "0", content, config(steps=7))
    found = collect(tmp_path)
    (record,) = found.records
    assert found.skipped == found.replaced == []
    assert record.metrics == GOOD
    assert (record.dataset, record.category, record.variant, record.seed) == ("mvtec", "carpet", "cpr", 66)
    assert (record.kind, record.steps, record.dim, record.n_reference, record.n_test) == ("texture", 500, 64, 264, 78)
    assert record.settings["training.max_steps"] == "7"
    assert record.settings["retrieval.neighbors"] == "10"  # a key that config.yaml does not have: its default


def test_metrics_that_are_undefined_are_left_out(tmp_path: Path):
    write_run(tmp_path, {"image_auroc": 1, "pixel_auroc": None, "pro": 0.0})
    (record,) = collect(tmp_path).records
    assert record.metrics == {"image_auroc": 1.0, "pro": 0.0}
    assert record.dim is None


def test_hidden_folders_and_other_files_are_not_looked_at(tmp_path: Path):
    write_run(tmp_path / "0", GOOD)
    write_run(tmp_path / ".old" / "0", {"seed": "broken"})
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "report.md").touch()
    (tmp_path / "multirun.yaml").touch()
    found = collect(tmp_path)
    assert len(found.records) == 1
    assert found.skipped == []


@pytest.mark.parametrize("begun", ["config.yaml", "environment.json", ".hydra/overrides.yaml"])
def test_a_run_that_is_not_finished_is_skipped(begun: str, tmp_path: Path):
    write_run(tmp_path / "0", GOOD)
    (tmp_path / "1" / begun).parent.mkdir(parents=True)
    (tmp_path / "1" / begun).touch()
    found = collect(tmp_path)
    assert found.skipped[0].path == tmp_path / "1"
    assert "no metrics.json" in reason(found)
    assert len(found.records) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (dict.fromkeys(GOOD), "no metric"),
        ({**GOOD, "pro": 97.6}, "pro=97.6"),
        ({**GOOD, "pro": float("nan")}, "pro=nan"),
        ({**GOOD, "pro": "high"}, "pro='high'"),
        ({**GOOD, "pixel_ap": True}, "pixel_ap=True"),
        ({**GOOD, "seed": "66"}, "seed"),
        ({**GOOD, "seed": None}, "seed"),
        ({**GOOD, "category": ""}, "category"),
        ({**GOOD, "scenario": 3}, "scenario"),
    ],
)
def test_metrics_that_are_not_of_a_run_are_skipped(content: dict[str, Any], said: str, tmp_path: Path):
    write_run(tmp_path / "0", GOOD)
    write_run(tmp_path / "1", content)
    found = collect(tmp_path)
    assert said in reason(found)
    assert str(tmp_path / "1" / "metrics.json") in reason(found)
    assert len(found.records) == 1


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "3", '{"accuracy": 0.9}', "\x00\xff"])
def test_files_that_are_no_metrics_are_skipped(text: str, tmp_path: Path):
    write_run(tmp_path / "0", GOOD)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "metrics.json").write_bytes(text.encode("latin-1"))
    found = collect(tmp_path)
    assert "metrics.json" in reason(found)
    assert len(found.records) == 1


@pytest.mark.parametrize("text", ["a: [", "- 1", "\x00"])
def test_damaged_settings_are_not_taken_for_the_defaults(text: str, tmp_path: Path):
    write_run(tmp_path / "0", GOOD)
    write_run(tmp_path / "1", GOOD, text)
    found = collect(tmp_path)
    assert str(tmp_path / "1" / "config.yaml") in reason(found)
    assert len(found.records) == 1


def test_speed_is_read_and_a_damaged_one_costs_only_itself(tmp_path: Path):
    write_run(tmp_path / "0", GOOD)
    write_run(tmp_path / "1", GOOD | {"seed": 1})
    write_benchmark(tmp_path / "0", 113.0)
    write_benchmark(tmp_path / "1", -1.0)
    found = collect(tmp_path)
    assert str(tmp_path / "1" / "benchmark.json") in reason(found)
    timed, other = found.records
    assert timed.speed is not None
    assert timed.speed.images_per_second == 113.0
    assert not timed.speed.tensorrt
    assert "RTX 4090" in timed.speed.condition
    assert "eager fp32" in timed.speed.condition
    assert other.speed is None


def test_of_runs_of_one_cell_the_newest_counts(tmp_path: Path):
    for number, name in enumerate("bca"):
        write_run(tmp_path / name, GOOD | {"pro": 0.1 * number}, config(), written=1e9 + number)
    found = collect(tmp_path)
    assert [record.folder.name for record in found.records] == ["a"]
    assert [(older.folder.name, newer.folder.name) for older, newer in found.replaced] == [("b", "a"), ("c", "a")]
    assert found.skipped == []


def test_runs_that_differ_are_cells_of_their_own(tmp_path: Path):
    for number, more in enumerate(({}, {"seed": 67}, {"category": "grid"}, {"variant": "fast"}, {"scenario": "other"})):
        write_run(tmp_path / str(number), GOOD | more, config())
    write_run(tmp_path / "steps", GOOD, config(steps=151))
    found = collect(tmp_path)
    assert len(found.records) == 6
    assert found.replaced == []


def test_what_does_not_change_a_method_does_not_make_another_cell(tmp_path: Path):
    write_run(tmp_path / "0", GOOD, config(weights="/here/net.safetensors"), written=1e9)
    moved = config(weights="/there/net.safetensors") + "device: cuda\nindex_cache: x\nlogger: {wandb: {id: 3}}\n"
    write_run(tmp_path / "1", GOOD, moved, written=1e9 + 1)
    write_run(tmp_path / "2", GOOD, config(weights="/here/other.safetensors"), written=1e9 + 2)
    found = collect(tmp_path)
    assert [record.folder.name for record in found.records] == ["1", "2"]


def test_settings_can_be_ignored(tmp_path: Path):
    write_run(tmp_path / "0", GOOD | {"category": "grid"}, config(steps=500))
    write_run(tmp_path / "1", GOOD, config(steps=40))
    methods = {frozenset(record.settings.items()) for record in collect(tmp_path, ["training.max_steps"]).records}
    assert len(methods) == 1


def test_nothing_to_report_is_an_error(tmp_path: Path):
    with pytest.raises(CprError, match="nowhere is not a folder"):
        collect(tmp_path / "nowhere")
    with pytest.raises(CprError, match=r"no finished run \(a folder with metrics\.json\)\.$"):
        collect(tmp_path)
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "config.yaml").touch()
    with pytest.raises(CprError, match=r"no finished run.*1 were skipped; the first is .*0: it has no metrics\.json"):
        collect(tmp_path)
