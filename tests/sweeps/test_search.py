"""The search finds what is good, remembers what it tried, and averages over what it does not choose."""

import csv
from importlib.util import find_spec
from pathlib import Path

import pytest

from cpr_lightning.errors import SettingsError
from cpr_lightning.sweeps.search import Optuna, Trial, dimensions
from cpr_lightning.sweeps.words import parse

pytestmark = pytest.mark.skipif(find_spec("optuna") is None, reason="the extra optuna is not installed")
SPACE = parse(["a=interval(-10.0,10.0)", "b=range(1,9)", "c=x,y", "d=tag(log,interval(1e-4,1.0))", "category=p,q"])


def value(trial: Trial, key: str) -> str:
    return dict(word.split("=", 1) for word in trial.words)[key]


def score(trial: Trial) -> float:
    """Best at a = 3, b = 6, c = y."""
    return -((float(value(trial, "a")) - 3) ** 2) - (int(value(trial, "b")) - 6) ** 2 - (value(trial, "c") == "x")


def run(search: Optuna, folder: Path, most: int = 10_000) -> list[Trial]:
    folder.mkdir(exist_ok=True)
    search.open(folder, dimensions(SPACE))
    ran: list[Trial] = []
    while len(ran) < most and (trials := search.next()):
        ran += trials
        for trial in trials:
            search.tell(trial, score(trial), folder)
    return ran


def test_categories_and_seeds_are_not_chosen():
    assert [each.key for each in dimensions(SPACE)] == ["a", "b", "c", "d"]


def test_it_finds_what_is_good(tmp_path: Path):
    ran = run(Optuna(trials=60, seed=1), tmp_path)
    assert [trial.number for trial in ran] == list(range(60))
    assert all(-10 <= float(value(trial, "a")) <= 10 for trial in ran)
    assert {int(value(trial, "b")) for trial in ran} <= set(range(1, 9))
    assert all(1e-4 <= float(value(trial, "d")) <= 1 for trial in ran)
    best = Optuna(trials=60)
    best.open(tmp_path, dimensions(SPACE))
    (found, trial), *others = best.best(5)
    assert found == max(score(each) for each in ran) == score(trial)
    assert [each for each, _ in others] == sorted((each for each, _ in others), reverse=True)
    later, earlier = [sorted(score(each) for each in half)[15] for half in (ran[30:], ran[:30])]
    assert later > earlier, "it learns from what it tried"


def test_it_goes_on_where_it_was_interrupted(tmp_path: Path):
    before = run(Optuna(trials=8, at_once=2), tmp_path, most=4)
    pending = Optuna(trials=8, at_once=2)
    pending.open(tmp_path, dimensions(SPACE))
    interrupted = pending.next()  # asked for, and never told of
    after = run(Optuna(trials=8, at_once=2), tmp_path)
    assert after[:2] == interrupted
    assert [trial.number for trial in before + after] == list(range(8))
    assert len({trial.words for trial in before + after}) == 8, "nothing is drawn twice"
    with (tmp_path / "search.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == list(range(8))
    assert {float(row["validation_score"]) for row in rows} == {score(trial) for trial in before + after}


@pytest.mark.parametrize("other", ["c=x,y,z", "e=1,2", "a=interval(0.0,1.0)"])
def test_it_does_not_go_on_with_other_values_or_keys(other: str, tmp_path: Path):
    run(Optuna(trials=2), tmp_path)
    space = [each.line for each in SPACE]
    before = (tmp_path / "study.journal").read_bytes()
    with pytest.raises(SettingsError, match="chooses other keys or values"):
        Optuna(trials=4).open(tmp_path, dimensions(parse([*space, other])))
    with pytest.raises(SettingsError, match="chooses other keys or values"):
        Optuna(trials=4).open(tmp_path, dimensions(parse(space[1:])))
    assert (tmp_path / "study.journal").read_bytes().startswith(before)
    assert [trial.number for trial in run(Optuna(trials=4), tmp_path)] == [2, 3]


def test_a_search_that_was_killed_while_it_chose_goes_on(tmp_path: Path):
    run(Optuna(trials=2), tmp_path)
    killed = Optuna(trials=5)
    killed.open(tmp_path, dimensions(SPACE))
    killed._study.ask().suggest_float("a", -10.0, 10.0)  # and nothing of b, c, d
    assert [trial.number for trial in run(Optuna(trials=5), tmp_path)] == [3, 4]
    with (tmp_path / "search.csv").open(newline="") as file:
        assert [row["validation_score"] == "" for row in csv.DictReader(file)] == [False, False, True, False, False]


def test_a_failed_trial_counts_and_has_no_score(tmp_path: Path):
    search = Optuna(trials=2)
    search.open(tmp_path, dimensions(SPACE))
    search.tell(search.next()[0], None, tmp_path)
    (other,) = search.next()
    search.tell(other, 1.0, tmp_path)
    assert search.next() == []
    assert [trial for _, trial in search.best(9)] == [other]


def test_the_same_seed_chooses_the_same(tmp_path: Path):
    assert run(Optuna(trials=5, seed=3), tmp_path / "a") == run(Optuna(trials=5, seed=3), tmp_path / "b")
    assert run(Optuna(trials=5, seed=4), tmp_path / "c") != run(Optuna(trials=5, seed=3), tmp_path / "d")


@pytest.mark.parametrize("wrong", [{"trials": 0}, {"at_once": -1}, {"seed": "x"}, {"trials": 2.5}, {"seed": -1}])
def test_what_makes_no_sense_is_refused(wrong: dict):
    with pytest.raises(SettingsError, match=rf"search\.{next(iter(wrong))}="):
        Optuna(**wrong).check()
