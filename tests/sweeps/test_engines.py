"""Engines, with cells that only sleep, die or tell where they are."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from engine_works import cells_in, do

from cpr_lightning.build import build
from cpr_lightning.errors import SettingsError
from cpr_lightning.sweeps.cell import Outcome, State
from cpr_lightning.sweeps.engines import arguments
from cpr_lightning.sweeps.engines.engine import Engine

ENGINES = "cpr_lightning.sweeps.engines"
LOCAL = {"_target_": f"{ENGINES}.local.Local"}
JOBLIB = {"_target_": f"{ENGINES}.joblib.Joblib"}
RAY = {"_target_": f"{ENGINES}.ray.Ray"}
SLURM = {"_target_": f"{ENGINES}.slurm.Slurm"}
PARALLEL = [pytest.param(JOBLIB, id="joblib"), pytest.param(RAY, id="ray", marks=pytest.mark.slow)]
SLOW_RAY_IN_A_TERMINAL = pytest.param(RAY, True, marks=pytest.mark.slow)  # Ctrl-C there reaches all of Ray's processes


@pytest.fixture(autouse=True)
def _neither_threads_nor_devices_given(monkeypatch: pytest.MonkeyPatch):
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # Ray's processes find `engine_works` there


def engine(config: dict[str, Any], **arguments: Any) -> Engine:
    if config is RAY:
        pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
    built: Engine = build(config | arguments)
    built.check()
    return built


def run(config: dict[str, Any], folder: Path, *words: str, **arguments: Any) -> list[Outcome]:
    return list(engine(config, **arguments).run(cells_in(folder, words), do))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def until(condition: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_the_local_engine_stays_in_this_process_and_in_order(tmp_path: Path):
    outcomes = run(LOCAL, tmp_path, *["notes"] * 3)
    assert [outcome.number for outcome in outcomes] == [0, 1, 2]
    assert {outcome.metrics["pid"] for outcome in outcomes} == {os.getpid()}


def test_the_local_engine_computes_with_the_threads_asked_for_and_leaves_the_process_as_it_was(tmp_path: Path):
    import torch

    before = torch.get_num_threads()
    asked = 3 if before != 3 else 2
    (outcome,) = run(LOCAL, tmp_path, "threads", threads=asked)
    found = outcome.metrics
    assert (found["torch"], found["opencv"], found["faiss"]) == (asked, asked, asked)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("config", PARALLEL)
def test_cells_come_in_the_order_in_which_they_end_and_workers_are_kept(config: dict[str, Any], tmp_path: Path):
    outcomes = run(config, tmp_path, "sleep=3", *["notes"] * 9, "threads", "sleep=1", jobs=2, threads=1)
    assert sorted(outcome.number for outcome in outcomes) == list(range(12))
    assert all(outcome.state is State.done for outcome in outcomes)
    assert [outcome.number for outcome in outcomes][:2] == [1, 2]
    marks = {(tmp_path / f"{number}" / "marks").read_text().strip() for number in range(12)}
    assert marks == {str(outcome.metrics["pid"]) for outcome in outcomes}
    assert len(marks) == 2
    (found,) = [outcome.metrics for outcome in outcomes if outcome.number == 10]
    assert [found[name] for name in ("torch", "opencv", "faiss", "numba")] == [1, 1, 1, 1]
    assert str(os.getpid()) not in marks
    until(lambda: not any(alive(int(pid)) for pid in marks))


@pytest.mark.parametrize("config", PARALLEL)
def test_a_dead_worker_costs_its_own_cell_alone(config: dict[str, Any], tmp_path: Path):
    words = ["sleep=2", "die", "notes", "exit", "raise", "notes"]
    outcomes = {outcome.number: outcome for outcome in run(config, tmp_path, *words, jobs=2)}
    states = [outcomes[number].state.name for number in range(6)]
    assert states == ["done", "failed", "done", "failed", "failed", "done"]
    died = outcomes[1].error
    assert died is not None
    assert died.startswith("its process died (")
    assert str(tmp_path / "1" / "train.log") in died
    assert "\n" not in "".join(str(outcome.error) for outcome in outcomes.values())
    assert "a mistake in the work" in (outcomes[4].error or "")
    for number in range(6):
        assert len((tmp_path / f"{number}" / "marks").read_text().split()) == 1, "a cell is run once"


def test_a_killed_process_is_named_as_such(tmp_path: Path):
    (outcome,) = run(JOBLIB, tmp_path, "die", jobs=1)
    assert "SIGKILL" in (outcome.error or "")


def test_workers_have_cores_of_their_own(tmp_path: Path):
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("there is one core only")
    one, other = ({*outcome.metrics["cores"]} for outcome in run(JOBLIB, tmp_path, "sleep=1", "sleep=1", jobs=2))
    assert len(one) in (len(cores) // 2, -(-len(cores) // 2))
    assert one | other == cores
    assert not one & other
    (alone,) = run(JOBLIB, tmp_path / "alone", "notes", jobs=1)
    assert {*alone.metrics["cores"]} == cores


def test_gpus_are_dealt_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    outcomes = run(JOBLIB, tmp_path, *["sleep=1"] * 4)
    assert {outcome.metrics["gpu"] for outcome in outcomes} == {"4", "7"}
    assert len({outcome.metrics["pid"] for outcome in outcomes}) == 2, "as many jobs as GPUs"


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Any]:
    """Starts a sweep in a process group of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(config: dict[str, Any], *words: str) -> subprocess.Popen[str]:
        script = Path(__file__).parent / "engine_works.py"
        command = [sys.executable, str(script), json.dumps(config), str(tmp_path), *words]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def pid_in(path: Path) -> int:
    until(lambda: path.is_file() and path.read_text().strip())
    return int(path.read_text())


@pytest.mark.parametrize(("config", "whole_group"), [(JOBLIB, True), (JOBLIB, False), SLOW_RAY_IN_A_TERMINAL])
def test_ctrl_c_ends_everything(config: dict[str, Any], whole_group: bool, sweep: Any, tmp_path: Path):
    engine(config)
    process = sweep(config | {"jobs": 2}, "child", "sleep=600", "notes")
    pids = [pid_in(tmp_path / "0" / "child"), pid_in(tmp_path / "0" / "marks"), pid_in(tmp_path / "1" / "marks")]
    assert all(map(alive, pids))
    if whole_group:
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert "KeyboardInterrupt" in err
    until(lambda: not any(map(alive, pids)))
    assert not (tmp_path / "2").exists()


def test_workers_do_not_outlive_a_killed_sweep(sweep: Any, tmp_path: Path):
    process = sweep(JOBLIB | {"jobs": 2}, "sleep=600", "sleep=600")
    pids = [pid_in(tmp_path / f"{number}" / "marks") for number in (0, 1)]
    process.kill()
    until(lambda: not any(map(alive, pids)))


def test_closing_stops_what_runs(tmp_path: Path):
    with closing(engine(JOBLIB, jobs=2).run(cells_in(tmp_path, ["notes", "sleep=600", "sleep=600"]), do)) as outcomes:
        assert next(outcomes).number == 0
        pid = pid_in(tmp_path / "1" / "marks")
    until(lambda: not alive(pid))


def test_no_cells(tmp_path: Path):
    assert run(LOCAL, tmp_path) == []
    assert run(JOBLIB, tmp_path) == []


BAD = [
    (JOBLIB, "jobs", 0),
    (JOBLIB, "jobs", "many"),
    (JOBLIB, "jobs", True),
    (JOBLIB, "threads", -1),
    (LOCAL, "threads", 0),
    (RAY, "jobs", 1.5),
    (RAY, "address", 7),
    (SLURM, "minutes", 0),
    (SLURM, "cpus", None),
    (SLURM, "partition", 3),
    (SLURM, "options", "qos"),
]


@pytest.mark.parametrize(("config", "key", "value"), BAD)
def test_arguments_that_make_no_sense_are_named(config: dict[str, Any], key: str, value: object):
    with pytest.raises(SettingsError, match=f"launcher.{key}={value} "):
        build(config | {key: value}).check()


def test_an_unknown_argument_is_named():
    with pytest.raises(SettingsError, match="jbos"):
        build(JOBLIB | {"jbos": 2})


@pytest.mark.parametrize(("config", "extra"), [(JOBLIB, "joblib"), (RAY, "ray"), (SLURM, "slurm")])
def test_a_missing_library_is_named_with_what_to_install(
    config: dict[str, Any], extra: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(arguments, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=rf'pip install "cpr-lightning\[{extra}\]"'):
        build(config).check()


def test_a_machine_without_slurm_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="sbatch"):
        build(SLURM).check()


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"launcher\.address=127\.0\.0\.1:1"):
        run(RAY, tmp_path, "notes", address="127.0.0.1:1")
