"""A sweep is found again by the command that made it, and nobody writes into another's."""

import os
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from cpr_lightning.errors import SettingsError
from cpr_lightning.sweeps.record import find_sweep, going_on, is_cell, open_sweep

WORDS = ["category=a,b", "seed=1", "hydra.mode=MULTIRUN"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_same_command_finds_its_newest_sweep(tmp_path: Path):
    assert find_sweep(tmp_path, WORDS) is None
    for name, words in (("one", WORDS), ("two", WORDS), ("other", ["category=a", "seed=1"])):
        open_sweep(tmp_path / name, words, resume=False)
        os.utime(tmp_path / name / "sweep.yaml")
    assert find_sweep(tmp_path, WORDS) == tmp_path / "two"
    how = ["sweep.resume=true", "launcher=joblib", "launcher.jobs=2", "logger=none"]
    assert find_sweep(tmp_path, [*how, *reversed(WORDS)]) == tmp_path / "two"
    assert find_sweep(tmp_path, [*WORDS, "branch.dim=16"]) is None


@pytest.mark.parametrize("path", ["/runs/plain-1_2.3", "/runs/a b=c, 'd' (e)/s"])
def test_what_is_said_to_go_on_is_what_a_shell_and_hydra_take(path: str):
    resume, word = shlex.split(going_on(Path(path)))
    assert resume == "sweep.resume=true"
    assert OverridesParser.create().parse_override(word).value() == path


def test_paths_mean_another_thing_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    open_sweep(tmp_path / "one", WORDS, resume=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert find_sweep(tmp_path, WORDS) is None


def test_a_sweep_is_gone_on_with_only_when_asked(tmp_path: Path):
    open_sweep(tmp_path / "one", WORDS, resume=False)
    open_sweep(tmp_path / "one", WORDS, resume=False)  # nothing was begun in it
    (tmp_path / "one" / "cell").mkdir()
    (tmp_path / "one" / "cell" / "status.json").touch()
    with pytest.raises(SettingsError, match=r"already holds a sweep.*sweep\.resume=true"):
        open_sweep(tmp_path / "one", WORDS, resume=False)
    open_sweep(tmp_path / "one", ["category=c"], resume=True)
    assert find_sweep(tmp_path, WORDS) == find_sweep(tmp_path, ["category=c"]) == tmp_path / "one"


@pytest.mark.parametrize("text", ["", "[", "3", "commands: [1, {words: [a]}]"])
def test_a_damaged_record_is_of_no_sweep(text: str, tmp_path: Path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "sweep.yaml").write_text(text)
    assert find_sweep(tmp_path, WORDS) is None


def test_a_cell_lies_in_a_sweep(tmp_path: Path):
    open_sweep(tmp_path / "one", WORDS, resume=False)
    assert is_cell(tmp_path / "one" / "a")
    assert not is_cell(tmp_path / "two" / "a")
