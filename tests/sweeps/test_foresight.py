"""Cells that will not find their images are named before the first one starts."""

import errno
from pathlib import Path

import pytest

from cpr_lightning.data.tiny import write_tiny
from cpr_lightning.settings import DatasetSettings
from cpr_lightning.sweeps import foresight
from cpr_lightning.sweeps.foresight import foretell
from sweeps.cells import cell


def test_what_is_there_is_not_spoken_of(tmp_path: Path):
    write_tiny(tmp_path / "data", size=32)
    there = {"dataset": "tiny", "dataset__root": tmp_path / "data"}
    good = [cell(tmp_path, number, **there, category="washer", seed=number) for number in range(2)]
    assert foretell(good) == []
    (tmp_path / "data" / "weave" / "ground_truth" / "tear" / "000_mask.png").unlink()
    wrong = [cell(tmp_path, 7, **there, category="wsher", seed=number) for number in range(3)]
    unmasked = cell(tmp_path, 8, **there, category="weave")
    told = foretell([*good, *wrong, unmasked])
    assert len(told) == 2
    assert told[0].startswith("cell7 and 2 more will fail: ")
    assert "wsher" in told[0]
    assert told[1].startswith("cell8 will fail: ")
    assert "000" in told[1]


def test_many_are_counted(tmp_path: Path):
    told = foretell([cell(tmp_path, number, category=f"c{number}") for number in range(8)])
    assert len(told) == 6
    assert told[-1] == "3 more categories have such a fault."


def test_what_may_not_be_read_stops_no_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(dataset: DatasetSettings) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", dataset.root)

    monkeypatch.setattr(foresight, "build_layout", refused)
    (told,) = foretell([cell(tmp_path)])
    assert told.startswith("cell0 will fail: /data")
