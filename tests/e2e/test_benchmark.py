"""`cpr benchmark` on the smallest network there is. No test looks at how fast anything is."""

import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from e2e_helpers import Result, Trained, call_cpr, half_files, run_cpr
from signals import kill_group, started, wait_for

STAGES = ["decode", "network", "global_retrieval", "matching", "foreground", "postprocessing"]
NETWORK = ["image_size=64", "backbone.name=resnet18"]
SIMULATED = [*NETWORK, "references=12", "device=cpu", "runtime=eager", "runs=4"]
ON_RUN = ["device=cpu", "runtime=eager", "runs=4"]


def result_of(folder: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads((folder / "benchmark.json").read_text(encoding="utf-8"), parse_constant=refuse)


def assert_plausible(result: dict[str, Any]) -> None:
    """What must hold of any machine and any load on it."""
    assert list(result["stages_ms"]) == STAGES
    assert all(isinstance(taken, float) and taken >= 0 for taken in result["stages_ms"].values())
    assert all(result["stages_ms"][stage] > 0 for stage in STAGES if stage != "foreground")
    percentiles = [result[f"latency_{name}ms"] for name in ("min_", "p5_", "", "p95_", "p99_")]
    assert percentiles == sorted(percentiles)
    assert percentiles[0] > 0
    assert result["images_per_second"] == pytest.approx(1000 / result["latency_mean_ms"])
    assert 50 < result["peak_memory_mb"] < 100_000
    assert result["query_memory_mb"] is None or result["query_memory_mb"] >= 0
    assert result["environment"]["threads"] == result["threads"] > 0
    assert result["environment"]["packages"]["torch"]


def test_a_variant_needs_no_data_and_leaves_only_the_result(tmp_path: Path):
    done = run_cpr("benchmark", "variant=fast", *SIMULATED, "threads=1", "output=b", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["b", "b/benchmark.json"]
    result = result_of(tmp_path / "b")
    assert_plausible(result)
    expected = {
        "variant": "fast",
        "run": None,
        "device": "cpu",
        "runtime": "eager",
        "precision": "fp32",
        "threads": 1,
        "batch": 1,
        "runs": 4,
        "warmup": 2,
        "references": 12,
        "neighbors": 10,
        "codec": "fp16",
        "backbone": "resnet18",
        "dim": 64,  # the variant's
        "image_size": 64,
        "foreground": True,
    }
    assert {key: result[key] for key in expected} == expected
    assert result["bank_mb"] == pytest.approx(12 * (16 * 16 + 8 * 8) * 64 * 2 / 2**20)
    for word in ("network", "global retrieval", "matching", "post-processing", "images/s", "12 references as fp16"):
        assert word in done.out
    assert f"{result['latency_ms']:.2f}" in done.out
    assert done.out.splitlines()[-1].split() == ["Benchmark", "b/benchmark.json"]
    assert "Measuring" not in done.err, "a progress bar is for terminals"


def test_any_setting_can_be_measured(tmp_path: Path):
    words = [
        "kind=texture",
        "retrieval.neighbors=5",
        "bank.codec=sq8",
        "retrieval.windows=[5,3]",
        "batch=3",
        "warmup=3",
    ]
    done = call_cpr("benchmark", "variant=faster", *SIMULATED, *words, "output=b", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    result = result_of(tmp_path / "b")
    assert_plausible(result)
    given = {"neighbors": 5, "codec": "sq8", "windows": [5, 3], "batch": 3, "warmup": 3, "foreground": False, "dim": 16}
    assert {key: result[key] for key in given} == given


def test_ablations_can_be_measured(tmp_path: Path):
    done = call_cpr("benchmark", *SIMULATED[:-1], "ablation=no_local", "runs=1", "output=b", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    result = result_of(tmp_path / "b")
    assert (result["variant"], result["dim"], result["runs"], result["warmup"]) == ("cpr", None, 1, 0)


def test_results_go_below_outputs_unless_told_otherwise(tmp_path: Path):
    assert call_cpr("benchmark", *SIMULATED, cwd=tmp_path).status == 0
    found = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("benchmark.json")]
    assert len(found) == 1
    assert re.fullmatch(r"outputs/benchmark/\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d/benchmark\.json", found[0])


def test_auto_says_which_runtime_it_took(tmp_path: Path):
    words = [word for word in SIMULATED if not word.startswith("runtime")]
    assert call_cpr("benchmark", *words, "output=b", cwd=tmp_path).status == 0
    assert result_of(tmp_path / "b")["runtime"] in ("eager", "compile", "openvino", "onnx")


def test_a_run_is_measured_with_its_own_bank_and_images(trained: Trained, run_copy: Path, tmp_path: Path):
    before = {path: path.read_bytes() for path in run_copy.rglob("*") if path.is_file()}
    done = call_cpr("benchmark", f"run={run_copy}", *ON_RUN, cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    result = result_of(run_copy)
    assert_plausible(result)
    given = {"run": str(run_copy), "variant": "cpr", "backbone": "resnet18", "neighbors": 4, "image_size": 96}
    assert {key: result[key] for key in given} == given
    assert result["references"] == 12
    assert result["foreground"] is True
    assert str(run_copy / "benchmark.json") in done.out
    after = {path: path.read_bytes() for path in run_copy.rglob("*") if path.is_file()}
    assert after.keys() - before.keys() == {run_copy / "benchmark.json"}
    assert all(after[path] == content for path, content in before.items())
    assert trained.data.is_dir()


def test_a_run_can_be_measured_on_other_images_and_elsewhere(trained: Trained, tiny: Path, tmp_path: Path):
    images = tiny / "washer" / "test" / "scratch"
    words = [f"run={trained.folder}", f"images={images}", "output=b", "batch=2", *ON_RUN]
    done = call_cpr("benchmark", *words, cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    assert result_of(tmp_path / "b")["images"] == 2
    assert not (trained.folder / "benchmark.json").exists()


def test_a_run_whose_images_are_gone_asks_for_others(trained: Trained, tmp_path: Path):
    run = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    names = run / "bank" / "references.txt"
    names.write_text(names.read_text(encoding="utf-8").replace(str(trained.data), "/gone"), encoding="utf-8")
    said = call_cpr("benchmark", f"run={run}", *ON_RUN, cwd=tmp_path).sentence()
    assert "/gone/washer" in said
    assert "images=FILE_OR_DIR" in said
    assert not (run / "benchmark.json").exists()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["runs=0"], ["runs=0", "1 or more"]),
        (["runs=many"], ["runs=many", "whole number"]),
        (["runs=5", "warmup=5"], ["warmup=5", "runs=5"]),
        (["warmup=-1"], ["warmup=-1", "0 or more"]),
        (["batch=0"], ["batch=0"]),
        (["threads=0"], ["threads=0"]),
        (["threads=1000000"], ["threads=1000000", "too many"]),
        (["references=9"], ["references=9", "retrieval.neighbors=10"]),
        (["references=3", "retrieval.neighbors=4"], ["references=3", "retrieval.neighbors=4"]),
        (["refrences=9"], ["refrences", "Did you mean references"]),
        (["codec=fp16"], ["codec", "bank.codec"]),
        (["neighbors=3"], ["neighbors", "retrieval.neighbors"]),
        (["branch.dimension=3"], ["branch.dimension"]),
        (["quick"], ["quick", "key=value"]),
        (["runs=4", "runs=5"], ["runs is given twice"]),
        (["kind=food"], ["kind=food", "object, texture"]),
        (["graph=yes"], ["graph=yes", "true or false"]),
        (["variant=fastest"], ["fastest", "cpr", "fast", "faster"]),
        (["bank.codec=zip"], ["zip", "flat", "fp16", "sq8", "pq"]),
        (["runtime=abacus"], ["abacus", "eager", "openvino", "auto"]),
        (["precision=int3"], ["int3", "fp32", "bf16"]),
        (["precision=fp16", "device=cpu"], ["precision=fp16", "CPU"]),
        (["device=tpu"], ["device=tpu", "cuda"]),
        (["image_size=8"], ["image_size=8", "too small"]),
        (["retrieval.windows=[2,1]"], ["retrieval.windows", "odd"]),
        (["images=nowhere"], ["images=nowhere"]),
        (["bank.codec=pq", "branch.dim=6", *NETWORK], ["bank.codec=pq", "branch.dim"]),
        (["references=10000000000", *NETWORK], ["references=10000000000", "GB free"]),
        (["run=nowhere"], ["run=nowhere", "not a folder"]),
        (["run=nowhere", "variant=cpr"], ["variant=cpr", "run="]),
        (["run=nowhere", "references=20"], ["references=20", "run="]),
        (["run=nowhere", "branch.dim=20"], ["branch.dim=20", "run="]),
        (["run=nowhere", "runtime=abacus"], ["runtime=abacus", "eager", "auto"]),
    ],
)
def test_what_cannot_be_used_is_refused_and_leaves_nothing(words: list[str], parts: list[str], tmp_path: Path):
    done: Result = call_cpr("benchmark", *words, cwd=tmp_path)
    said = done.sentence()
    for part in parts:
        assert part in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(trained: Trained, tmp_path: Path):
    for words in ([], [f"run={trained.folder}"]):
        assert "device=cuda" in call_cpr("benchmark", *words, "device=cuda", cwd=tmp_path).sentence()
    assert "device=cuda" in call_cpr("benchmark", *SIMULATED, "graph=true", "output=b", cwd=tmp_path).sentence()
    assert half_files(tmp_path) == []
    assert not list(tmp_path.rglob("benchmark.json"))


def test_one_that_is_told_to_end_leaves_no_simulated_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    process = started(["benchmark", *SIMULATED[:-1], "runs=100000000", "output=b"], tmp_path)
    try:
        wait_for(lambda: any(scratch.glob("cpr-benchmark-*/scale2.faiss")), process, tmp_path)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=180) == 128 + signal.SIGTERM
    finally:
        kill_group(process)
    assert not list(scratch.glob("cpr-benchmark-*"))
    assert not list(tmp_path.rglob("benchmark.json"))


def test_the_help_explains_both_ways(tmp_path: Path):
    done = call_cpr("benchmark", "--help", cwd=tmp_path)
    assert done.status == 0
    for word in (
        "variant=cpr|fast|faster",
        "run=RUN_DIR",
        "warmup",
        "references",
        "runtime",
        "benchmark.json",
        "(2000)",
    ):
        assert word in done.out
    assert list(tmp_path.iterdir()) == []
