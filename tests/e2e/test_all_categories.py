"""`category=all`: a sweep over what the data set has."""

from pathlib import Path

import pytest
from e2e_helpers import Result, call_cpr, metrics_of, small

from miniatures import btad, mvtec


def sweep(dataset: str, root: Path, cwd: Path, *more: str) -> Result:
    words = [
        word
        for word in small(root, cwd / "x", category="all")
        if word != "dataset=tiny" and not word.startswith("hydra.run.dir")
    ]
    tiny = ["image_size=64", "training.max_steps=0", "retrieval.neighbors=3"]
    return call_cpr(*words, f"dataset={dataset}", *tiny, *more, cwd=cwd)


def categories(cwd: Path) -> list[str]:
    return sorted(metrics_of(path.parent)["category"] for path in (cwd / "multirun").rglob("metrics.json"))


def test_all_are_those_of_the_data_set(tmp_path: Path):
    done = sweep("btad", btad(tmp_path / "data"), tmp_path, "-m")
    assert done.status == 0, done.out + done.err
    assert categories(tmp_path) == ["01", "02", "03"]


def test_all_goes_with_other_sweeps_and_leaves_out_what_is_not_there(tmp_path: Path):
    root = mvtec(tmp_path / "data", ["grid", "bottle"])
    done = sweep("mvtec", root, tmp_path, "seed=1,2", "--multirun")
    assert done.status == 0, done.out + done.err
    assert categories(tmp_path) == ["bottle", "bottle", "grid", "grid"]
    assert f"{root} holds no cable, capsule, " in done.out
    assert "the sweep goes without" in done.out


def test_without_a_sweep_it_is_refused(tmp_path: Path):
    said = sweep("mvtec", mvtec(tmp_path / "data"), tmp_path).sentence()
    assert "add -m" in said
    assert "bottle, grid" in said
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["dataset=mvtec,btad"], "one sweep per data set"),
        (["dataset.root=a,b"], "one sweep per data set"),
        (["category=bottle,all"], "it stands alone"),
        (["dataset.root=nowhere"], "nowhere is not a folder"),
        (["dataset=folder", "dataset.good=x"], "dataset=folder has no list of categories"),
        (["dataset=btad"], "use dataset=mvtec."),
    ],
)
def test_what_all_cannot_mean_is_refused(more: list[str], named: str, tmp_path: Path):
    said = sweep("mvtec", mvtec(tmp_path / "data"), tmp_path, *more, "-m").sentence()
    assert named in said
    assert not (tmp_path / "multirun").exists()


def test_without_a_root_it_is_asked_for(tmp_path: Path):
    assert "dataset.root is not set" in call_cpr("train", "-m", "category=all", cwd=tmp_path).sentence()


def test_help_and_the_mistakes_of_others_are_left_to_hydra(tmp_path: Path):
    assert call_cpr("train", "category=all", "--help", cwd=tmp_path).status == 0
    assert "no key nonsense" in sweep("mvtec", mvtec(tmp_path / "data"), tmp_path, "nonsense=1", "-m").sentence()
