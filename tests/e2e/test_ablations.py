"""Ablations from the command line: what they change, what they leave, and that their runs are runs like any other."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from e2e_helpers import Trained, call_cpr, metrics_of, numbers_of, rows_of, same_model, small
from omegaconf import OmegaConf
from safetensors.torch import load_file

ONE_SCALE = {"backbone.strides": [4], "retrieval.windows": [3]}
NO_FOREGROUND = {"foreground.enabled": False}
RAW = {"branch.enabled": False}
ALIKE = {"training.remote_weight": "none"}
COMPARED = {"no_global": {"retrieval.search": "window"}, "whole_bank": {"retrieval.search": "coreset"}}
ABLATIONS: dict[str, dict[str, Any]] = COMPARED | {
    "no_foreground": NO_FOREGROUND,
    "no_local": RAW,
    "no_multiscale": ONE_SCALE,
    "no_pair_weight": ALIKE,
    "table7_1": COMPARED["whole_bank"] | NO_FOREGROUND | RAW | ONE_SCALE | ALIKE,
}


@pytest.fixture(scope="module")
def cache(bench: Path, trained: Trained) -> str:
    assert trained.folder.parent == bench
    return f"index_cache={bench / 'index_cache'}"


@pytest.fixture(scope="module")
def ablated(tiny: Path, bench: Path, cache: str) -> dict[str, Path]:
    """A run of each ablation; read-only by agreement."""
    runs = {}
    for name in ABLATIONS:
        runs[name] = bench / f"ablation_{name}"
        done = call_cpr(*small(tiny, runs[name], f"ablation={name}", cache), cwd=bench)
        assert done.status == 0, done.out + done.err
    return runs


def config_of(run: Path) -> Any:
    return OmegaConf.load(run / "config.yaml")


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_changes_what_it_says(name: str, ablated: dict[str, Path], trained: Trained):
    run, changed = ablated[name], ABLATIONS[name] | {"ablation": name}
    mine, full = config_of(run), config_of(trained.folder)
    for key, value in changed.items():
        assert OmegaConf.select(mine, key) == value, key
        assert OmegaConf.select(full, key) != value, key
        OmegaConf.update(full, key, OmegaConf.select(mine, key))
    for key in ("logger", "index_cache", "trainer"):  # they hold the names of folders
        OmegaConf.update(full, key, OmegaConf.select(mine, key), merge=False)
    assert mine == full, "and nothing else"
    metrics, raw = metrics_of(run), "branch.enabled" in changed
    assert metrics["ablation"] == name
    assert metrics["steps"] == (0 if raw else 6)
    names = load_file(run / "model.safetensors").keys()
    assert any(each.startswith("branch.") for each in names) != raw
    assert any(each.startswith("foreground.") for each in names) == ("foreground.enabled" not in changed)
    assert (run / "bank" / "scale2.faiss").exists() == ("backbone.strides" not in changed)
    assert numbers_of(run)["pixel_ap"] != numbers_of(trained.folder)["pixel_ap"]


@pytest.mark.parametrize("name", ABLATIONS)
def test_its_run_can_be_used_like_any_other(name: str, ablated: dict[str, Path], tiny: Path, tmp_path: Path):
    run = ablated[name]
    image = tiny / "washer" / "test" / "good" / "000.png"
    done = call_cpr("predict", f"run={run}", f"images={image}", f"output={tmp_path / 'p'}", cwd=tmp_path)
    assert done.status in (0, 1), done.err
    done = call_cpr("evaluate", f"run={run}", f"output={tmp_path / 'e'}", cwd=tmp_path)
    assert done.status == 0, done.err
    assert numbers_of(tmp_path / "e") == numbers_of(run)
    assert rows_of(tmp_path / "e" / "predictions.csv") == rows_of(run / "predictions.csv")
    targeted = name not in COMPARED and name != "table7_1"
    for table in (run / "predictions.csv", tmp_path / "p" / "predictions.csv"):
        columns = [key for key in rows_of(table)[0] if key.startswith("neighbor_")]
        assert columns == ([f"neighbor_{rank}" for rank in range(1, 5)] if targeted else [])


def test_training_pairs_of_untargeted_runs_are_of_any_two_references(ablated: dict[str, Path], trained: Trained):
    assert same_model(ablated["no_global"], ablated["whole_bank"])
    assert not same_model(ablated["no_global"], trained.folder)


def test_a_whole_bank_without_its_coreset_is_named(ablated: dict[str, Path], tiny: Path, tmp_path: Path):
    copy = Path(shutil.copytree(ablated["whole_bank"], tmp_path / "copy"))
    (copy / "bank" / "coreset.safetensors").unlink()
    said = call_cpr("predict", f"run={copy}", f"images={tiny / 'washer' / 'test'}", cwd=tmp_path).sentence()
    assert "coreset.safetensors is missing" in said


def test_a_contradiction_is_refused_before_any_work(tiny: Path, tmp_path: Path):
    words = small(tiny, tmp_path / "run", "ablation=no_local", "branch.enabled=true")
    said = call_cpr(*words, cwd=tmp_path).sentence()
    assert "ablation=no_local means branch.enabled=false; branch.enabled=true contradicts it" in said
    assert not (tmp_path / "index_cache").exists()


@pytest.mark.parametrize("search", ["window", "coreset"])
def test_benchmark_takes_every_search(search: str, tmp_path: Path):
    words = ["backbone.name=resnet18", "image_size=64", "branch.dim=16", "references=12", "runs=4", "runtime=eager"]
    done = call_cpr("benchmark", *words, f"retrieval.search={search}", "threads=1", "output=b", cwd=tmp_path)
    assert done.status == 0, done.err
    assert (tmp_path / "b" / "benchmark.json").is_file()
