"""The experiments of the paper: what each sweeps over, and all of them in their fast form."""

import csv
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import pytest
import yaml
from e2e_helpers import call_cpr, metrics_of

from cpr_lightning.composing import conf_folder
from cpr_lightning.data import categories

MVTEC, MVTEC3D, BTAD = set(categories.MVTEC), set(categories.MVTEC3D), set(categories.BTAD)
OBJECTS = {name for name, kind in categories.MVTEC.items() if kind.value == "object"}
TABLE_7 = {f"table7_{row}" for row in range(1, 8)}
VARIANTS = {"cpr", "fast", "faster"}
SEEDS = {"66", "67", "68"}
ABLATIONS = {"full", "no_global", "no_foreground", "no_local", "no_multiscale", "no_pair_weight", "whole_bank"}
# 126 cells, in their fast form too; expanding them is tested in tests/sweeps/test_expansion.py
TOO_MANY = {"mvtec_all"}


class Experiment(NamedTuple):
    """What an experiment should be."""

    dataset: str
    categories: set[str]
    scenario: str = "unsupervised"
    seeds: set[str] = set()  # noqa: RUF012 (nobody changes it)
    variants: set[str] = {"cpr"}  # noqa: RUF012
    ablations: set[str] = {"full"}  # noqa: RUF012
    report: bool = True
    benchmark: bool = False
    figures: tuple[str, ...] = ()


EXPERIMENTS = {
    "table1": Experiment("mvtec", MVTEC),
    "table2": Experiment("mvtec", MVTEC),
    "table3": Experiment("mvtec3d", MVTEC3D),
    "table4": Experiment("btad", BTAD),
    "table5": Experiment("mvtec", MVTEC, "supervised"),
    "table6": Experiment("btad", BTAD, "supervised"),
    "table7": Experiment("mvtec", MVTEC, ablations=TABLE_7),
    "table8": Experiment("mvtec", MVTEC, variants=VARIANTS, benchmark=True),
    "mvtec_variants": Experiment("mvtec", MVTEC, seeds=SEEDS, variants=VARIANTS, benchmark=True, figures=("speed",)),
    "mvtec_all": Experiment("mvtec", MVTEC, seeds=SEEDS, variants=VARIANTS, ablations=ABLATIONS),
    "figure_speed": Experiment("mvtec", MVTEC, variants=VARIANTS, benchmark=True, figures=("speed",)),
    "figure_maps": Experiment("mvtec", MVTEC, report=False, figures=("maps",)),
    "figure_neighbors": Experiment("mvtec", MVTEC, report=False, figures=("neighbors",)),
    "figure_foreground": Experiment("mvtec", OBJECTS, report=False, figures=("foreground",)),
}


def composed(name: str, cwd: Path) -> dict[str, Any]:
    done = call_cpr("train", f"experiment={name}", "dataset.root=/data", "category=any", "--cfg", "all", cwd=cwd)
    assert done.status == 0, done.err
    return yaml.safe_load(done.out)


def test_there_is_an_expectation_of_every_experiment():
    assert {path.stem for path in (conf_folder() / "experiment").glob("*.yaml")} == {*EXPERIMENTS, "search"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_is_what_the_paper_did(name: str, tmp_path: Path):
    expected, config = EXPERIMENTS[name], composed(name, tmp_path)
    swept = {key: set(str(value).split(",")) for key, value in config["hydra"]["sweeper"]["params"].items()}
    assert swept.pop("category") == expected.categories
    assert swept.pop("variant", {config["variant"]}) == expected.variants
    assert swept.pop("ablation", {config["ablation"]}) == expected.ablations
    assert swept.pop("seed", set()) == expected.seeds
    assert swept == {}
    assert (config["dataset"]["name"], config["scenario"]) == (expected.dataset, expected.scenario)
    assert (config["image_size"], config["training"]["max_steps"], config["fast"]) == (320, None, False)
    after = config["experiment"]
    assert (after["name"], after["report"], after["benchmark"]) == (name, expected.report, expected.benchmark)
    assert after["benchmark_runs"] == 2000
    assert tuple(after["figures"]) == expected.figures
    assert config["hydra"]["mode"] == "MULTIRUN"
    assert config["hydra"]["sweep"]["dir"].startswith(f"multirun/{name}/")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(EXPERIMENTS.keys() - TOO_MANY))
def test_an_experiment_in_its_fast_form(name: str, tiny: Path, bench: Path, tmp_path: Path):
    expected = EXPERIMENTS[name]
    words = [f"experiment={name}", "fast=true", f"dataset.root={tiny}", f"index_cache={bench / 'index_cache'}"]
    done = call_cpr("train", *words, cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    (folder,) = (tmp_path / "multirun" / name).iterdir()
    runs = {path.parent: metrics_of(path.parent) for path in folder.glob("*/metrics.json")}
    cells = {(run["category"], run["variant"], run["ablation"], run["scenario"]) for run in runs.values()}
    assert cells == {
        (category, variant, ablation, expected.scenario)
        for category in ("washer", "weave")
        for variant in expected.variants
        for ablation in expected.ablations
    }
    assert len(runs) == len(cells) * max(1, len(expected.seeds))
    assert {(run["dataset"], run["backbone"]) for run in runs.values()} == {("tiny", "resnet18")}, "named as what it is"
    assert all(run["steps"] <= 2 for run in runs.values())
    assert {run["n_defective"] for run in runs.values()} == ({4} if expected.scenario == "supervised" else {0})
    assert all((run / "benchmark.json").is_file() == expected.benchmark for run in runs)
    drawn = {path.relative_to(folder) for path in folder.rglob("figures/*.png")}
    assert drawn == set(wanted_figures(expected, folder, runs))
    for path in drawn:
        picture = cv2.imread(str(folder / path))
        assert picture is not None
        assert picture.std() > 10, "a picture of something"
    assert (folder / "report").is_dir() == expected.report
    if expected.report:
        check_report(folder / "report" / "report.csv", list(runs.values()))
        assert "tiny" in done.out


def wanted_figures(expected: Experiment, folder: Path, runs: dict[Path, dict[str, Any]]) -> list[Path]:
    wanted = []
    for figure in expected.figures:
        if figure == "speed":
            wanted.append(Path("figures") / "speed.png")
        else:
            # A texture has no foreground, and is left out.
            shown = [run for run, facts in runs.items() if figure != "foreground" or facts["kind"] == "object"]
            wanted += [run.relative_to(folder) / "figures" / f"{figure}.png" for run in shown]
    return wanted


def check_report(path: Path, runs: list[dict[str, Any]]) -> None:
    """The table holds, in percent, what the runs measured."""
    with path.open(encoding="utf-8", newline="") as file:
        text = file.read()
    numbers = set()
    for row in csv.reader(text.splitlines()):
        for value in row:
            try:
                numbers.add(round(float(value), 6))
            except ValueError:
                continue
    for run in runs:
        cell = ("category", "variant", "ablation")
        seeds = [other["pixel_ap"] for other in runs if all(other[key] == run[key] for key in cell)]
        assert round(100 * sum(seeds) / len(seeds), 6) in numbers, run
        assert {run["variant"], run["ablation"]} <= set(text.replace("\n", ",").split(",")), "named in the table"


def test_the_command_line_goes_before_the_experiment(tiny: Path, bench: Path, tmp_path: Path):
    words = ["experiment=table7", "fast=true", f"dataset.root={tiny}", f"index_cache={bench / 'index_cache'}"]
    more = ["ablation=full", "category=weave", "seed=1,2", "experiment.figures=[maps]", "training.max_steps=1"]
    done = call_cpr("train", *words, *more, cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    runs = [metrics_of(path.parent) for path in (tmp_path / "multirun").rglob("metrics.json")]
    assert sorted((run["seed"], run["category"], run["ablation"], run["steps"]) for run in runs) == [
        (1, "weave", "full", 1),
        (2, "weave", "full", 1),
    ]
    assert len(list(tmp_path.rglob("maps.png"))) == 2
    assert "±" in done.out, "the spread over both seeds"


def test_a_cell_that_was_killed_is_resumed_alone(tiny: Path, bench: Path, tmp_path: Path):
    words = ["experiment=table4", "fast=true", f"dataset.root={tiny}", f"index_cache={bench / 'index_cache'}"]
    assert call_cpr("train", *words, "category=washer", cwd=tmp_path).status == 0
    (cell,) = [path.parent for path in tmp_path.rglob("metrics.json")]
    before = metrics_of(cell)
    (cell / "metrics.json").unlink()
    shutil.rmtree(cell.parent / "report")
    done = call_cpr("train", f"resume={cell}", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    assert metrics_of(cell)["pixel_ap"] == before["pixel_ap"]
    assert len(list(tmp_path.rglob("metrics.json"))) == 1, "no other cell was started"
    assert list(tmp_path.rglob("report.csv")) == []


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["experiment=table1"], ["dataset.root is not set", "dataset.root="]),
        (["experiment=table8", "seed=1,2", "-m"], ["dataset.root is not set"]),
        (["experiment=tabel1", "dataset.root=x"], ["tabel1", "table1"]),
        (["experiment=table1,table4", "dataset.root=x"], ["experiment=table1,table4", "one after another"]),
        (["experiment=table1", "dataset.root=x", "retrieval.blocks=0"], ["retrieval.blocks=0"]),
        (["experiment=table1", "fast=maybe"], ["fast/maybe", "true", "false"]),
        (["experiment=table1", "fast=true", "experiment.benchmark_runs=0"], ["experiment.benchmark_runs=0"]),
        (["experiment=table1", "dataset.root=x", "experiment.figures=[map]"], ["map", "neighbors"]),
    ],
)
def test_what_no_cell_can_do_is_refused_at_once(words: list[str], parts: list[str], tmp_path: Path):
    said = call_cpr("train", *words, cwd=tmp_path).sentence()
    for part in parts:
        assert part in said
    assert list(tmp_path.iterdir()) == []


def test_generated_data_is_not_mixed_with_real(tmp_path: Path):
    """The root of a real data set, with `fast=true` behind it: nothing is written there."""
    real = tmp_path / "mvtec"
    (real / "bottle" / "train" / "good").mkdir(parents=True)
    said = call_cpr("train", "experiment=table1", "fast=true", f"dataset.root={real}", "logger=none", cwd=tmp_path)
    assert said.status == 2
    assert f"dataset.root={real} holds other things" in said.err
    assert [path.name for path in real.iterdir()] == ["bottle"]
