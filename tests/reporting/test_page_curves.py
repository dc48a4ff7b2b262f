"""Curves from the CSV logger's files."""

from pathlib import Path

import pytest

from cpr_lightning.errors import RunError
from cpr_lightning.reporting.page_curves import POINTS, read_curves


def write_log(folder: Path, version: int, text: str) -> None:
    path = folder / "training_log" / f"version_{version}" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")


def test_a_training_that_went_on_is_one_curve_and_the_later_file_counts(tmp_path: Path):
    write_log(tmp_path, 2, "epoch,loss,lr,step\n0,0.5,,9\n0,0.4,0.1,19\n")
    write_log(tmp_path, 10, "epoch,loss,step\n0,0.3,19\n0,nan,29\n0,0.2,39\n")
    assert read_curves(tmp_path) == {"loss": [(9, 0.5), (19, 0.3), (39, 0.2)], "lr": [(19, 0.1)]}


def test_a_long_curve_is_thinned_and_keeps_its_ends(tmp_path: Path):
    write_log(tmp_path, 0, "loss,step\n" + "".join(f"{step / 8},{step}\n" for step in range(1001)))
    points = read_curves(tmp_path)["loss"]
    assert POINTS / 2 < len(points) <= POINTS + 1
    assert points[0] == (0, 0.0)
    assert points[-1] == (1000, 125.0)
    assert all(value == step / 8 for step, value in points)


@pytest.mark.parametrize("text", ["loss,step\nhigh,3\n", "loss\n0.5\n", "loss,step\n0.5,soon\n"])
def test_a_damaged_log_is_refused(text: str, tmp_path: Path):
    write_log(tmp_path, 0, text)
    with pytest.raises(RunError, match=r"version_0.metrics\.csv"):
        read_curves(tmp_path)


def test_a_run_without_a_log_has_no_curves(tmp_path: Path):
    assert read_curves(tmp_path) == {}
