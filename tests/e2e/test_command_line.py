"""The frame of the command line: help, version, verbs, exit statuses of a real process."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from e2e_helpers import call_cpr, child_environment, run_cpr

from cpr_lightning import __version__

VERBS = ["train", "evaluate", "predict", "benchmark", "data", "tiny"]


def test_help_shows_every_verb_and_the_exit_statuses(tmp_path: Path):
    done = run_cpr("--help", cwd=tmp_path)
    assert done.status == 0
    assert done.err == ""
    for verb in VERBS:
        assert f"cpr {verb} " in done.out
    assert re.search(r"0 done; 1 .*; 2 could not run", done.out.replace("\n", " "))


def test_no_verb_shows_the_help_and_is_an_error(tmp_path: Path):
    done = run_cpr(cwd=tmp_path)
    assert done.status == 2
    assert done.out == run_cpr("--help", cwd=tmp_path).out


def test_the_console_script_is_the_same_program(tmp_path: Path):
    script = Path(sys.executable).with_name("cpr")
    if not script.exists():
        pytest.skip(f"{script} is not installed")
    done = subprocess.run(
        [str(script), "--version"], cwd=tmp_path, env=child_environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"cpr-lightning {__version__}\n")
    assert run_cpr("--version", cwd=tmp_path).out == done.stdout


def test_an_unknown_verb_is_refused_with_the_nearest_one(tmp_path: Path):
    done = run_cpr("trian", "category=washer", cwd=tmp_path)
    said = done.sentence()
    assert "trian" in said
    assert "did you mean `train`" in said
    assert list(tmp_path.iterdir()) == []


def test_a_verb_that_is_like_none_lists_all(tmp_path: Path):
    said = call_cpr("qqqq", cwd=tmp_path).sentence()
    assert "did you mean" not in said
    for verb in VERBS:
        assert verb in said


@pytest.mark.parametrize(
    ("verb", "keys"),
    [
        ("evaluate", ["run", "dataset.root", "output", "device"]),
        ("predict", ["run", "images", "output", "on_error"]),
        ("tiny", ["root", "size", "seed"]),
    ],
)
def test_help_of_a_verb_names_its_keys(verb: str, keys: list[str], tmp_path: Path):
    done = call_cpr(verb, "--help", cwd=tmp_path)
    assert done.status == 0
    for key in keys:
        assert re.search(rf"^  {re.escape(key)}  +\S", done.out, re.MULTILINE), key


def test_help_of_train_shows_the_groups_and_every_key(tmp_path: Path):
    done = call_cpr("train", "--help", cwd=tmp_path)
    assert done.status == 0, done.err
    for group in ("ablation", "dataset", "logger", "scenario", "trainer", "variant"):
        assert re.search(rf"^{group}: \w", done.out, re.MULTILINE), group
    for key in ("learning_rate: ", "neighbors: 10", "image_size: 320", "codec: fp16", "max_steps: null"):
        assert key in done.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["evaluate"], "run=…"),
        (["predict", "run=somewhere"], "images=…"),
        (["tiny"], "root=…"),
        (["predict", "run=a", "iamges=b"], "Did you mean images?"),
        (["evaluate", "run=a", "run=b"], "run is given twice"),
        (["predict", "run=a", "picture.png"], "picture.png"),
        (["tiny", "root=a", "size=big"], "size=big is not a whole number"),
        (["tiny", "root=a", "train=0"], "train"),
    ],
)
def test_arguments_that_a_verb_does_not_take(words: list[str], named: str, tmp_path: Path):
    assert named in call_cpr(*words, cwd=tmp_path).sentence()
    assert list(tmp_path.iterdir()) == []


def test_tiny_leaves_an_existing_data_set_alone(tmp_path: Path):
    (tmp_path / "there" / "washer").mkdir(parents=True)
    (tmp_path / "there" / "washer" / "mine.txt").write_text("mine")
    said = call_cpr("tiny", "root=there", cwd=tmp_path).sentence()
    assert "there/washer" in said
    assert [path.name for path in (tmp_path / "there").rglob("*")] == ["washer", "mine.txt"]
