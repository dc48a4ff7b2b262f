"""The speed–accuracy plot: that it is drawn, whole, with a point where there is one."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from cpr_lightning.errors import RunError
from cpr_lightning.visual.scatter import Point, Sort, draw_scatter

POINTS = [
    Point("other", 10.0, 60.0, Sort.other),
    Point("CPR", 100.0, 80.0, Sort.own),
    Point("", 130.0, 80.0, Sort.own_tensorrt),
    Point("cpr", 40.0, 70.0, Sort.measured),
]


def drawn(points: list[Point], path: Path) -> np.ndarray:
    draw_scatter(points, accuracy="AP", notes=["a note"], path=path)
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture


def coloured(picture: np.ndarray) -> int:
    """Pixels in the red of CPR's points (BGR)."""
    return int((np.abs(picture.astype(int) - (0x5B, 0x49, 0xD1)).max(axis=2) < 30).sum())


def test_every_sort_of_point_is_drawn(tmp_path: Path) -> None:
    whole = drawn(POINTS, tmp_path / "a.png")
    assert whole.shape[0] > 500
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert coloured(drawn(POINTS[:1], tmp_path / "b.png")) == 0
    # A point in the plot and one in the legend each; a star is larger than a dot.
    alone = {point.sort: coloured(drawn([POINTS[0], point], tmp_path / "b.png")) for point in POINTS[1:]}
    assert alone[Sort.measured] > alone[Sort.own] > alone[Sort.own_tensorrt] > 0


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RunError, match=r"cpr-lightning\[figures\]"):
        drawn(POINTS, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
