"""What cells do in the tests of engines. Other processes find it by its name."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cpr_lightning.settings import Settings
from cpr_lightning.sweeps.cell import Cell, Outcome, State


def cells_in(folder: Path, words: Sequence[str]) -> list[Cell]:
    """A cell for each word."""
    return [Cell(number, folder / f"{number}", (word,), Settings()) for number, word in enumerate(words)]


def do(cell: Cell) -> Outcome:
    """What the cell's word says: sleep=SECONDS, child, once, die, exit, raise, threads; else nothing. Leaves a mark."""
    cell.folder.mkdir(parents=True, exist_ok=True)
    with (cell.folder / "marks").open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    what, _, value = cell.words[0].partition("=")
    if what == "sleep":
        time.sleep(float(value))
    elif what == "child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (cell.folder / "child").write_text(str(child.pid))
        time.sleep(600)
    elif what == "once":
        time.sleep(600 if len((cell.folder / "marks").read_text().split()) == 1 else 0)
    elif what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "exit":
        sys.exit(3)
    elif what == "raise":
        raise ValueError("a mistake in the work\nwith a second line")
    found: dict[str, object] = {"pid": os.getpid(), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}
    found["cores"] = sorted(os.sched_getaffinity(0))
    return Outcome(cell.number, State.done, metrics=found | (_threads() if what == "threads" else {}))


def _threads() -> dict[str, object]:
    import cv2
    import faiss
    import torch

    from cpr_lightning import kernels

    with kernels.torch_threads(64) as numba:
        return {
            "torch": torch.get_num_threads(),
            "opencv": cv2.getNumThreads(),
            "faiss": faiss.omp_get_max_threads(),
            "numba": numba,
        }


def main() -> None:
    """A sweep in a process of its own: the engine's class, its arguments, the folder, and the cells' words."""
    from cpr_lightning.build import build

    target, folder, *words = sys.argv[1:]
    engine = build(json.loads(target))
    engine.check()
    for outcome in engine.run(cells_in(Path(folder), words), do):
        print(outcome.number, outcome.state.name, flush=True)


if __name__ == "__main__":
    from engine_works import main  # so that other processes find `do` under the same name

    main()
