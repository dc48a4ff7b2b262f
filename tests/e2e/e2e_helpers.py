"""Running `cpr` as a user does: in a process of its own, or, where that is as real, in this one (it is faster)."""

import csv
import io
import json
import logging
import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from cpr_lightning.cli import main

TIMINGS = {"training_seconds", "seconds_per_test_image"}


@dataclass(frozen=True)
class Result:
    """What a command left on the terminal."""

    status: int
    out: str
    err: str

    def sentence(self) -> str:
        """The one message on stderr of a command that could not run; asserts that it is one."""
        assert self.status == 2, f"status {self.status}\n{self.out}\n{self.err}"
        assert "Traceback" not in self.out + self.err, self.out + self.err
        said = [line for line in self.err.splitlines() if line.startswith("cpr: ")]
        assert len(said) == 1, self.err
        start = self.err.index("cpr: ")
        text = self.err[start:].strip()
        assert len(text) > 20
        return text


@dataclass(frozen=True)
class Trained:
    """A run, the data it was trained on, and what its training said."""

    folder: Path
    data: Path
    said: Result


def child_environment(**others: str) -> dict[str, str]:
    """The environment of a `cpr` process: one thread, no settings of this machine's user for W&B or the model hub."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "HF_", "HYDRA_"))}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | others


def command(*words: str | Path) -> list[str]:
    """`cpr` words as a command for subprocess."""
    return [sys.executable, "-m", "cpr_lightning", *map(str, words)]


def run_cpr(*words: str | Path, cwd: Path, timeout: float = 300, **environment: str) -> Result:
    """Run `cpr` in a process of its own."""
    done = subprocess.run(
        command(*words),
        cwd=cwd,
        env=child_environment(**environment),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def call_cpr(*words: str | Path, cwd: Path) -> Result:
    """Run `cpr` in this process, with one thread; leaves the process as it was."""
    out, err = io.StringIO(), io.StringIO()
    root = logging.getLogger()
    before = (list(root.handlers), root.level, list(sys.argv), dict(os.environ), torch.get_num_threads())
    torch.set_num_threads(1)
    try:
        with chdir(cwd), redirect_stdout(out), redirect_stderr(err):
            status = main([str(word) for word in words])
    except SystemExit as leaving:  # how Hydra ends `--help`; the interpreter makes the same of it
        status = int(leaving.code or 0)
    finally:
        handlers, level, argv, environment, threads = before
        for handler in set(root.handlers) - set(handlers):
            root.removeHandler(handler)
            handler.close()
        for handler in handlers:
            if handler not in root.handlers:
                root.addHandler(handler)
        root.setLevel(level)
        sys.argv[:] = argv
        os.environ.clear()
        os.environ.update(environment)
        torch.set_num_threads(threads)
    return Result(status, out.getvalue(), err.getvalue())


def small(data: Path, run: Path, *more: str, category: str = "washer") -> list[str]:
    """`cpr train` with a network and a training that take a second or two."""
    return [
        "train",
        "dataset=tiny",
        f"dataset.root={data}",
        f"category={category}",
        "backbone.name=resnet18",
        "backbone.weights=random",
        "image_size=96",
        "training.max_steps=6",
        "training.batch_size=2",
        "training.workers=0",
        "retrieval.neighbors=4",
        "retrieval.codebook_vectors=2000",
        "retrieval.codebook_restarts=2",
        f"index_cache={run.parent / 'index_cache'}",
        f"hydra.run.dir={run}",
        *more,
    ]


def metrics_of(run: Path) -> dict[str, Any]:
    """`metrics.json`."""
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


def numbers_of(run: Path) -> dict[str, Any]:
    """`metrics.json` without what the clock decides."""
    return {key: value for key, value in metrics_of(run).items() if key not in TIMINGS}


def rows_of(table: Path) -> list[dict[str, str]]:
    """A CSV file."""
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def same_model(one: Path, other: Path) -> bool:
    """Whether two runs learned bit for bit the same."""
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def half_files(folder: Path) -> list[Path]:
    """Temporary files that an interrupted write left behind (what is written has a name that starts with a dot)."""
    return [path for path in folder.rglob(".*") if path.name not in (".hydra",)]
