"""What a sweep costs beside the work of its cells.

    python benchmarks/sweep.py --folder DIR [--launchers local joblib] [--output FILE.json]

Dry composition of 945 cells, from the command to its exit; and of 24 tiny cells, the time that is not in their training
and scoring: composing, starting workers, importing torch there, writing results, drawing heat maps, bookkeeping.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from cpr_lightning.environment import describe_environment

_SMALL = [
    *("dataset=tiny", "backbone.name=resnet18", "backbone.weights=random", "image_size=96", "training.max_steps=2"),
    *("training.batch_size=2", "training.workers=0", "retrieval.neighbors=4", "retrieval.codebook_vectors=2000"),
    *("retrieval.codebook_restarts=2", "seed=1,2,3,4,5,6", "category=washer,weave", "branch.dim=8,16"),
]


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for data and runs; must not exist")
    parser.add_argument("--launchers", nargs="+", default=["local", "joblib"])
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    folder = asked.folder.absolute()
    folder.mkdir(parents=True)
    cpr("tiny", f"root={folder / 'data'}", "size=96", "train=12", "test_good=4", "test_per_defect=2")
    start = cpr("train", "-m", "category=a", "dataset.root=/nowhere", "sweep.dry=true")
    dry = cpr("train", "experiment=mvtec_all", "dataset.root=/nowhere", "sweep.dry=true")
    environment = {key: describe_environment()[key] for key in ("commit", "processor", "cores", "python")}
    results = {
        "environment": environment,
        "seconds_to_compose_one_cell_and_leave": round(start, 2),
        "seconds_to_compose_945_cells_and_leave": round(dry, 2),
        "launchers": {name: measure(folder, name, start) for name in asked.launchers},
    }
    print(json.dumps(results, indent=2))
    if asked.output is not None:
        asked.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def measure(folder: Path, launcher: str, start: float) -> dict[str, float]:
    """A sweep in a folder of its own, with the indexes of the first one."""
    runs = folder / launcher
    words = [*_SMALL, f"dataset.root={folder / 'data'}", f"index_cache={folder / 'index_cache'}"]
    wall = cpr("train", "-m", *words, f"hydra.sweep.dir={runs}", f"launcher={launcher}", "launcher.threads=1")
    cells = [json.loads(path.read_text(encoding="utf-8")) for path in runs.glob("*/metrics.json")]
    own = [cell["training_seconds"] + cell["n_test"] * cell["seconds_per_test_image"] for cell in cells]
    return {
        "cells": len(cells),
        "seconds": round(wall, 2),
        "median_own_seconds_of_a_cell": round(median(own), 3),
        # Of all processes together, so that cells side by side do not hide it.
        "seconds_beside_own_work_per_cell": round((wall - start - sum(own) / workers(launcher)) / len(cells), 3),
    }


def workers(launcher: str) -> int:
    """Cells at the same time on this machine, by the launcher's default."""
    return 1 if launcher == "local" else 2


def cpr(*words: str) -> float:
    """Seconds of a command."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "cpr_lightning", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
