"""The table at the end of a sweep."""

from pathlib import Path

import pytest

from cpr_lightning.sweeps.cell import Outcome, State
from cpr_lightning.sweeps.leaderboard import print_leaderboard
from sweeps.cells import METRICS, cell


def rows(text: str) -> list[list[str]]:
    return [[part.strip() for part in line.strip("│").split("│")] for line in text.splitlines() if line.startswith("│")]


def test_methods_are_ranked_by_their_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    cells, outcomes = [], []
    for variant, values in {"cpr": (0.5, 0.7), "fast": (0.9, 0.8), "faster": (0.1,)}.items():
        for category, value in zip("ab", values, strict=False):
            made = cell(tmp_path, len(cells), variant=variant, category=category)
            cells.append(made)
            outcomes.append(Outcome(made.number, State.done, metrics=METRICS | {"pixel_ap": value, "pro": None}))
    print_leaderboard(cells, outcomes)
    assert rows(capsys.readouterr().out) == [
        ["fast", "0.8500", "–", "0.8000", "0.9000", "2"],
        ["cpr", "0.6000", "–", "0.8000", "0.9000", "2"],
        ["faster", "0.1000", "–", "0.8000", "0.9000", "1"],
    ]


def test_nothing_is_cut_in_a_pipe_and_no_number_in_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    sides: dict[str, tuple[object, object]] = {
        "variant": ("cpr", "faster"), "ablation": ("full", "no_pair_weight"), "retrieval__windows": ("[1,1]", "[3,1]"),
        "training__learning_rate": (0.0001, 0.001), "scoring__blur_sigma": (2, 4), "bank__codec": ("sq8", "pq"),
        "scenario": ("unsupervised", "supervised"),
    }  # fmt: skip
    cells = [cell(tmp_path, number, **{key: both[number] for key, both in sides.items()}) for number in range(2)]
    outcomes = [Outcome(each.number, State.done, metrics=METRICS) for each in cells]
    print_leaderboard(cells, outcomes)
    ((*_, cells_of_first), second) = rows(capsys.readouterr().out)
    assert cells_of_first == "1"
    assert second == ["faster", "no_pair_weight", "[3,1]", "0.001", "4", "pq", "supervised",
                      "0.7000", "0.6000", "0.8000", "0.9000", "1"]  # fmt: skip
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a terminal
    print_leaderboard(cells, outcomes)
    said = capsys.readouterr().out
    assert [said.count(number) for number in ("0.7000", "0.6000", "0.8000", "0.9000")] == [2, 2, 2, 2]


def test_of_very_many_methods_the_best_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    cells = [cell(tmp_path, number, branch__dim=number + 1) for number in range(35)]
    print_leaderboard(cells, [Outcome(each.number, State.done, metrics=METRICS) for each in cells])
    said = capsys.readouterr().out
    assert len(rows(said)) == 30
    assert "and 5 more methods" in said
