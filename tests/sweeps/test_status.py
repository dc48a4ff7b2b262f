"""How a cell stands, and by what it is known again."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from cpr_lightning.sweeps.cell import State
from cpr_lightning.sweeps.status import STATUS, fingerprint, finished, read_status, write_status
from sweeps.cells import cell, write_metrics


def test_what_is_written_is_read(tmp_path: Path):
    here = cell(tmp_path)
    began = time.time() - 5
    write_status(here, State.failed, began, error="It broke.", exit_status=2)
    status = read_status(here.folder)
    assert status is not None
    assert (status.state, status.error, status.exit_status) == (State.failed, "It broke.", 2)
    assert status.config == fingerprint(here.settings)
    assert status.seconds == pytest.approx(5, abs=1)
    assert json.loads((here.folder / STATUS).read_text())["state"] == "failed"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "gone"}', '{"state": "done", "config": "x", "more": 1}'])
def test_what_is_damaged_says_nothing(text: str, tmp_path: Path):
    assert read_status(tmp_path) is None
    (tmp_path / STATUS).write_text(text)
    assert read_status(tmp_path) is None


def test_settings_that_make_another_run_have_another_fingerprint(tmp_path: Path):
    def told(**settings: Any) -> str:
        return fingerprint(cell(tmp_path, **settings).settings)

    changes: list[dict[str, Any]] = [
        {},
        {"seed": 3},
        {"variant": "fast"},
        {"branch__dim": 16},
        {"training__max_steps": 7},
        {"device": "cpu"},
    ]
    assert len({told(**change) for change in changes}) == len(changes)
    assert told() == told(index_cache="/elsewhere") == told(sweep__resume="true") == told(launcher="joblib")


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"pixel_ap": 0.5}'])
def test_half_a_result_is_none(text: str, tmp_path: Path):
    assert finished(tmp_path) is None
    (tmp_path / "metrics.json").write_text(text)
    assert finished(tmp_path) is None


def test_a_whole_result(tmp_path: Path):
    write_metrics(tmp_path, pixel_ap=0.25)
    metrics = finished(tmp_path)
    assert metrics is not None
    assert metrics["pixel_ap"] == 0.25
