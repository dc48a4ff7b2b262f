"""The engine `slurm` on a real Slurm. Only where CPR_TEST_SLURM is set:

eval "$(tests/cluster/slurm.sh start)"; python -m pytest tests/cluster; tests/cluster/slurm.sh stop
"""

import getpass
import os
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

SWEEPS = Path(__file__).parents[1] / "sweeps"
sys.path.insert(0, str(SWEEPS))

from engine_works import cells_in, do  # noqa: E402

from cpr_lightning.errors import SettingsError  # noqa: E402
from cpr_lightning.sweeps.cell import State  # noqa: E402
from cpr_lightning.sweeps.engines import slurm  # noqa: E402
from cpr_lightning.sweeps.engines.slurm import Slurm  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("CPR_TEST_SLURM"),
        reason="CPR_TEST_SLURM is not set: `tests/cluster/slurm.sh start` starts a Slurm and says how",
    ),
]


@pytest.fixture(autouse=True)
def _found_by_the_jobs_and_asked_often(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(SWEEPS))
    monkeypatch.setattr(slurm, "_ASK_SLURM", 2.0)


def queued() -> list[str]:
    command = ["squeue", "--noheader", f"--user={getpass.getuser()}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def test_cells_come_in_the_order_in_which_they_end(tmp_path: Path):
    cells = cells_in(tmp_path, ["sleep=12", "notes", "raise", "notes"])
    outcomes = list(Slurm(jobs=2, cpus=1, minutes=5).run(cells, do))
    assert sorted(outcome.number for outcome in outcomes) == [0, 1, 2, 3]
    assert outcomes[-1].number == 0
    states = {outcome.number: outcome.state for outcome in outcomes}
    assert states == {0: State.done, 1: State.done, 2: State.failed, 3: State.done}
    (failed,) = [outcome for outcome in outcomes if outcome.state is State.failed]
    assert "a mistake in the work" in (failed.error or "")
    for number in range(4):
        assert len((tmp_path / f"{number}" / "marks").read_text().split()) == 1, "a cell is run once"
    assert list((tmp_path / "slurm").glob("*.out")), "the logs of the jobs lie beside the runs"


def test_a_job_that_is_killed_or_cancelled_has_failed(tmp_path: Path):
    cells = cells_in(tmp_path, ["die", "sleep=600", "notes"])
    outcomes = {}
    for outcome in Slurm(cpus=1, minutes=5).run(cells, do):
        outcomes[outcome.number] = outcome
        if outcome.number == 0:
            (job,) = [line.split()[0] for line in queued() if "_1 " in line]
            subprocess.run(["scancel", job], check=True)
    assert [outcomes[number].state for number in range(3)] == [State.failed, State.failed, State.done]
    assert (outcomes[0].error or "").startswith("its process died (Slurm says ")
    assert "CANCELLED" in (outcomes[1].error or "") or "interrupted" in (outcomes[1].error or "").lower()


def test_a_job_has_the_threads_asked_for(tmp_path: Path):
    (outcome,) = Slurm(cpus=1, minutes=5).run(cells_in(tmp_path, ["threads"]), do)
    assert [outcome.metrics[name] for name in ("torch", "opencv", "faiss", "numba")] == [1, 1, 1, 1]
    assert len(outcome.metrics["cores"]) == 1


def test_closing_cancels_what_runs_and_what_waits(tmp_path: Path):
    cells = cells_in(tmp_path, ["notes", *["sleep=600"] * 4])
    with closing(Slurm(jobs=2, cpus=1, minutes=5).run(cells, do)) as outcomes:
        assert next(outcomes).number == 0
        assert queued()
    until(lambda: not queued())


def test_a_cell_whose_time_is_up_is_queued_again(tmp_path: Path):
    """It then goes on where it was: here it starts anew and, the file being there, ends at once."""
    (cell,) = cells_in(tmp_path, ["once"])
    with closing(Slurm(cpus=1, minutes=5).run([cell], do)) as outcomes:

        def interrupt() -> None:
            marks = cell.folder / "marks"
            until(marks.is_file)
            (job,) = [line.split()[0] for line in queued()]
            subprocess.run(["scancel", "--signal=USR2", job], check=True)
            until(lambda: any(" PD " in line for line in queued()))
            # Slurm itself would wait two minutes; some seconds it needs, to give out new credentials.
            subprocess.run(["scontrol", "update", f"jobid={job}", "starttime=now+5"], check=True)

        thread = threading.Thread(target=interrupt)
        thread.start()
        outcome = next(outcomes)
        thread.join()
    assert outcome.state is State.done
    assert len((cell.folder / "marks").read_text().split()) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"partition": "nowhere"}, "invalid partition specified: nowhere"),
        ({"options": {"no-such-option": 1}}, "no-such-option"),
    ],
)
def test_what_slurm_refuses_is_said(arguments: dict, said: str, tmp_path: Path):
    with pytest.raises(SettingsError, match=said) as error:
        list(Slurm(**arguments).run(cells_in(tmp_path, ["notes", "notes"]), do))
    assert "launcher." in str(error.value)
    assert "\n" not in str(error.value)
