"""The same sweep on every launcher: the same numbers, to the last digit."""

import os
from pathlib import Path
from typing import Any

import pytest
from e2e_helpers import call_cpr, numbers_of, run_cpr, small

THIS_MANY = ["category=washer,weave", "seed=1,2,3", "ablation=full,no_global"]
CELLS = 12


def words(tiny: Path, bench: Path, folder: Path, *more: str) -> list[str]:
    own = [word for word in small(tiny, bench / "x") if not word.startswith(("hydra.run.dir", "category="))]
    return [*own, "training.max_steps=2", f"hydra.sweep.dir={folder}", "-m", *more]


def numbers_in(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: numbers_of(path.parent) for path in folder.rglob("metrics.json")}


@pytest.fixture(scope="module")
def one_after_another(tiny: Path, bench: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Numbers of the cells by their names, from the launcher `local`."""
    folder = tmp_path_factory.mktemp("local") / "sweep"
    done = call_cpr(*words(tiny, bench, folder, *THIS_MANY, "launcher=local"), cwd=folder.parent)
    assert done.status == 0, done.out + done.err
    numbers = numbers_in(folder)
    assert len(numbers) == CELLS
    return numbers


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "module"),
    [("joblib", "joblib"), ("ray", "ray"), pytest.param("slurm", "submitit", id="slurm")],
)
def test_every_launcher_gives_the_same_numbers(
    launcher: str, module: str, tiny: Path, bench: Path, one_after_another: dict[str, dict[str, Any]], tmp_path: Path
):
    pytest.importorskip(module, reason=f"{module} is not installed (extra `{launcher}`)")
    if launcher == "slurm" and not os.environ.get("CPR_TEST_SLURM"):
        pytest.skip("CPR_TEST_SLURM is not set: `tests/cluster/slurm.sh start` starts a Slurm and says how")
    # One thread, as `local` has in the tests: what torch sums depends on their number in its last digits.
    how = [f"launcher={launcher}", "launcher.jobs=2", "launcher.threads=1"]
    if launcher == "slurm":
        how.append("launcher.cpus=1")
    done = run_cpr(*words(tiny, bench, tmp_path / "sweep", *THIS_MANY, *how), cwd=tmp_path, timeout=600)
    assert done.status == 0, done.out + done.err
    assert numbers_in(tmp_path / "sweep") == one_after_another


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["launcher=slrum"], "slrum"),
        (["launcher=joblib", "launcher.jobs=0"], "launcher.jobs=0 must be"),
        (["launcher=joblib", "launcher.threads=two"], "launcher.threads=two must be"),
        (["launcher=ray", "launcher.jbos=2"], "jbos"),
        (["launcher=joblib", "+launcher.jbos=2"], "jbos"),
        (["launcher=slurm", "launcher.minutes=null"], "launcher.minutes=None must be"),
    ],
)
def test_a_launcher_that_makes_no_sense_is_refused(
    wrong: list[str], said: str, tiny: Path, bench: Path, tmp_path: Path
):
    done = call_cpr(*words(tiny, bench, tmp_path / "sweep", *wrong, "category=washer", "seed=1,2"), cwd=tmp_path)
    assert said in done.sentence()
    assert not (tmp_path / "sweep").exists()
