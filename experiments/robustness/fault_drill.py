"""Kill a sweep again and again, and see what is left of it.

    python experiments/robustness/fault_drill.py --folder DIR [--kills 10] [--latest 20] [--launcher local joblib]

24 tiny cells, one of which can never succeed. The whole tree of processes is killed with signal 9 at random moments,
and the same command is run again. At the end 23 cells must be complete, with the numbers of a sweep that nobody
disturbed, one failure must be on record, every file must be whole, and no index may have been computed twice. Writes
``fault_drill.json`` beside this file; what other launchers came to stays in it.
"""

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import faiss
import torch
from safetensors.torch import load_file

from cpr_lightning.environment import describe_environment

TIMINGS = {"training_seconds", "seconds_per_test_image"}
CATEGORIES = 6
SETTINGS = [
    *(
        "dataset=mvtec",
        "dataset.kind=object",
        "backbone.name=resnet18",
        "backbone.weights=random",
        "image_size=96",
        "training.max_steps=12",
    ),
    *("training.batch_size=2", "training.checkpoint_every=3", "training.workers=1", "retrieval.neighbors=4"),
    *("retrieval.codebook_vectors=2000", "retrieval.codebook_restarts=2", "seed=1,2", "branch.dim=8,16"),
]
BROKEN = "mvtec_part3_cpr_full_seed2_branch.dim=16"


def main() -> None:
    """Run the drill once for each launcher."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for data and runs; must not exist")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--latest", type=float, default=20, help="seconds after a start; joblib's workers start later")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--launcher", nargs="+", default=["local", "joblib"])
    asked = parser.parse_args()
    root = asked.folder.absolute()
    root.mkdir(parents=True)
    write_data(root / "data")
    whole = root / "undisturbed"
    sabotage(whole)
    sweep(whole, root / "index_of_undisturbed", "local").wait()
    expected = {run.name: numbers(run) for run in complete(whole)}
    assert len(expected) == 23, sorted(expected)
    environment = {key: describe_environment()[key] for key in ("commit", "processor", "cores", "python", "platform")}
    drills = {}
    for name in asked.launcher:
        result = drill(root, name, asked.kills, asked.latest, random.Random(asked.seed), expected)
        drills[name] = {"command": sys.argv[1:], "environment": environment} | result
    record = Path(__file__).with_suffix(".json")
    before = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    record.write_text(json.dumps(before | drills, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(drills, indent=2))
    sys.exit(0 if all(each["passed"] for each in drills.values()) else 1)


def write_data(folder: Path) -> None:
    """Six categories: three washers and three weaves, of other images each."""
    folder.mkdir()
    for number in range(CATEGORIES // 2):
        made = folder.parent / f"data{number}"
        words = ["tiny", f"root={made}", "size=96", "train=12", "test_good=4", "test_per_defect=2", f"seed={number}"]
        subprocess.run([sys.executable, "-m", "cpr_lightning", *words], check=True, stdout=subprocess.DEVNULL)
        (made / "washer").rename(folder / f"part{2 * number}")
        (made / "weave").rename(folder / f"part{2 * number + 1}")


def sabotage(folder: Path) -> None:
    """A file where the heat maps of one cell should go: it fails at its very end, every time."""
    (folder / BROKEN).mkdir(parents=True)
    (folder / BROKEN / "heatmaps").touch()


def sweep(folder: Path, cache: Path, launcher: str) -> "subprocess.Popen[bytes]":
    """Start the sweep, in a session of its own."""
    data = folder.parent / "data"
    parts = ",".join(f"part{number}" for number in range(CATEGORIES))
    words = [*SETTINGS, f"category={parts}", f"dataset.root={data}", f"index_cache={cache}", "sweep.resume=true"]
    command = [sys.executable, "-m", "cpr_lightning", "train", "-m", *words, f"hydra.sweep.dir={folder}"]
    return subprocess.Popen(
        [*command, f"launcher={launcher}", "launcher.threads=1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def drill(
    root: Path, launcher: str, kills: int, latest: float, chance: random.Random, expected: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """One sweep, killed, and gone on with until it ends by itself."""
    folder, cache = root / launcher, root / f"index_of_{launcher}"
    sabotage(folder)
    moments, finished_at = [], []
    while len(moments) < kills:
        process = sweep(folder, cache, launcher)
        # From the import of torch on, through several cells.
        moment = round(chance.uniform(4, latest), 2)
        try:
            process.wait(moment)
            break  # everything was done before the next kill: say so
        except subprocess.TimeoutExpired:
            kill_tree(process.pid)
            process.wait()
            moments.append(moment)
            finished_at.append(len(complete(folder)))
    status = sweep(folder, cache, launcher).wait()
    found = {run.name: numbers(run) for run in complete(folder)}
    recorded = json.loads((folder / BROKEN / "status.json").read_text(encoding="utf-8"))
    built = [
        line for log in folder.glob("*/train.log") for line in log.read_text().splitlines() if "Index kept" in line
    ]
    result: dict[str, Any] = {
        "kills": len(moments),
        "seconds_to_each_kill": moments,
        "cells_complete_after_each_kill": finished_at,
        "exit_status_of_the_last": status,
        "complete": len(found),
        "equal_to_undisturbed": sum(found.get(name) == told for name, told in expected.items()),
        "failure_recorded": recorded["state"] == "failed" and bool(recorded["error"]),
        "damaged_files": damaged([folder, cache]),
        "indexes": len([path for path in cache.iterdir() if path.name != ".locks"]),
        "indexes_computed": len(built),
    }
    result["passed"] = (
        (result["kills"], result["exit_status_of_the_last"], result["complete"]) == (kills, 1, 23)
        and (result["equal_to_undisturbed"], result["damaged_files"]) == (23, [])
        and result["failure_recorded"]
        and result["indexes"] == result["indexes_computed"]
    )
    return result


def kill_tree(process: int) -> None:
    """Signal 9 to a process and all that descend from it, whatever session they are in."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdigit() else []
        except OSError:
            continue
        if fields:
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    doomed = [process]
    for each in doomed:
        doomed += parents.get(each, [])
    for each in doomed:
        try:
            os.kill(each, signal.SIGKILL)
        except ProcessLookupError:
            continue


def complete(folder: Path) -> list[Path]:
    """Folders of finished cells."""
    return sorted(path.parent for path in folder.glob("*/metrics.json"))


def numbers(run: Path) -> dict[str, Any]:
    """``metrics.json`` without what the clock decides."""
    held = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return {key: value for key, value in held.items() if key not in TIMINGS}


def damaged(folders: list[Path]) -> list[str]:
    """Files that cannot be read, or were left half-written."""
    readers = {
        ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
        ".safetensors": load_file,
        ".faiss": lambda path: faiss.read_index(str(path)),
        ".ckpt": lambda path: torch.load(path, weights_only=True),
    }
    found = []
    for path in (each for folder in folders for each in folder.rglob("*") if each.is_file()):
        try:
            readers.get(path.suffix, Path.read_bytes)(path)
        except Exception as error:
            found.append(f"{path}: {error}")
        if path.name.startswith(".") and path.name != ".last.ckpt":
            found.append(f"{path} was left over")
    return found


if __name__ == "__main__":
    started = time.monotonic()
    print(f"{platform.node()}, {os.cpu_count()} cores")
    try:
        main()
    finally:
        print(f"{time.monotonic() - started:.0f} s")
