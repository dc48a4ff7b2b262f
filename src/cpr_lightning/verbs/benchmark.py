"""``cpr benchmark``: how fast this machine scores images, and where the time goes."""

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
import torch

from cpr_lightning.assembly import ready
from cpr_lightning.benchmarking import Subject, benchmark
from cpr_lightning.checks import known_keys
from cpr_lightning.choices import Kind, Precision, Runtime
from cpr_lightning.composing import compose_settings
from cpr_lightning.data.images import find_images
from cpr_lightning.environment import choose_device
from cpr_lightning.errors import DataError, SettingsError
from cpr_lightning.files import write_json
from cpr_lightning.runs import load_run
from cpr_lightning.runtime.choosing import check_runtime
from cpr_lightning.settings import Settings
from cpr_lightning.simulated import simulate, write_pictures
from cpr_lightning.verbs.arguments import choose, parse, whole_number
from cpr_lightning.verbs.speed_tables import print_speed

_THREADS_A_CORE = 16  # more than one wait for each other; of very many the process dies
_PICTURES = 16  # different images, scored in turn: one alone would find the same references in the cache every time

_HELP = """\
Measure how fast this machine scores images: latency by the paper's protocol, the time of every stage, peak memory.

  cpr benchmark variant=cpr|fast|faster     no data needed: references are simulated and weights random, for speed
                                            depends on neither; any key of `cpr train` may be given (branch.dim=64 …)
  cpr benchmark run=RUN_DIR                 a trained run, with its own network, references and images

An inference begins with an image in memory and ends with its anomaly map and score. The first half of the runs only
warms the machine up. The result is printed and written to benchmark.json.
"""
_KEYS = {
    "variant": "cpr, fast or faster (cpr)",
    "run": "a run directory, in place of variant",
    "device": "auto, cpu, cuda (auto)",
    "runtime": "eager, compile, openvino, onnx, auto: what computes the network (auto; with run=, the run's own)",
    "precision": "fp32, bf16, fp16: of the network (fp32; with run=, the run's own)",
    "threads": "processor threads (all cores)",
    "runs": "inferences (2000)",
    "warmup": "the first of them, which are not counted (half of runs)",
    "batch": "images scored at once; times are per image (1)",
    "graph": "true: the whole cascade as one CUDA graph (false); device=cuda only",
    "images": "an image or a folder of images to score (generated ones; with run=, its references)",
    "references": "simulated references (200)",
    "kind": "object or texture: a texture has no foreground branch (object)",
    "image_size": "pixels on a side (320)",
    "retrieval.neighbors": "references an image is compared with (10)",
    "bank.codec": "flat, fp16, sq8, pq: how the bank stores features (fp16)",
    "backbone.weights": "random, imagenet or a .safetensors file (random)",
    "output": "folder for benchmark.json (outputs/benchmark/<time>; with run=, the run directory)",
}
_OWN = ("run", "threads", "runs", "warmup", "batch", "graph", "images", "references", "kind", "output")
_WITH_RUN = {"run", "device", "runtime", "precision", "threads", "runs", "warmup", "batch", "graph", "images", "output"}


def main(words: list[str]) -> int:
    """Run the verb."""
    if any(word in ("-h", "--help") for word in words):
        print(_HELP)
    settings_keys = known_keys(Settings)
    # Settings that the help does not list go to Hydra alone; a key that is none of both is refused by `parse`.
    others = [word for word in words if (key := word.partition("=")[0]) in settings_keys and key not in _KEYS]
    values = parse("benchmark", [word for word in words if word not in others], _KEYS)
    if values is None:
        return 0
    runs = _number(values, "runs", 2000)
    warmup = _number(values, "warmup", runs // 2, least=0)
    if warmup >= runs:
        raise SettingsError(f"warmup={warmup} leaves none of runs={runs} to count. Lower warmup, or raise runs.")
    batch = _number(values, "batch", 1)
    if values.get("graph", "false") not in ("true", "false"):
        raise SettingsError(f"graph={values['graph']} must be true or false.")
    torch.set_num_threads(_threads(values))
    with _leaving_when_told_to_end(), tempfile.TemporaryDirectory(prefix="cpr-benchmark-") as scratch:
        subject = _trained(values, words) if "run" in values else _simulated(values, others, Path(scratch))
        output = _output(values)
        output.mkdir(parents=True, exist_ok=True)  # refused now, not after all the runs
        result = benchmark(subject, runs=runs, warmup=warmup, batch=batch, graph=values.get("graph") == "true")
    result["run"] = values.get("run")
    write_json(output / "benchmark.json", result)
    print_speed(result)
    print(f"Benchmark  {output / 'benchmark.json'}")
    return 0


def _trained(values: dict[str, str], words: list[str]) -> Subject:
    """A run's own cascade, and images of its own unless others were given."""
    for word in words:
        if word.partition("=")[0] not in _WITH_RUN:
            raise SettingsError(
                f"{word} and run= do not go together: a run keeps what it was trained with. Leave out one of the two."
            )
    device = choose_device(values.get("device", "auto"))
    runtime, precision = choose(values, "runtime", Runtime), choose(values, "precision", Precision)
    given = find_images(Path(values["images"]).expanduser()) if "images" in values else None
    run = load_run(Path(values["run"]).expanduser(), device, runtime, precision)
    pictures = given or [path for path in map(Path, run.references) if path.is_file()]
    if not pictures:
        raise DataError(
            f"The images of the run in {run.folder} are no longer where they were ({run.references[0]}). "
            "Give others: images=FILE_OR_DIR."
        )
    used = check_runtime(run.settings.runtime, run.settings.precision, device, run.settings.onnx_providers)
    return Subject(run.settings, run.cascade, used, _spread(pictures), device)


def _simulated(values: dict[str, str], others: list[str], scratch: Path) -> Subject:
    """A variant with simulated references and, unless told otherwise, random weights."""
    defaults = ["dataset=tiny", "category=simulated", "backbone.weights=random", "runtime=auto"]
    given = [f"{key}={value}" for key, value in values.items() if key not in _OWN]
    settings = compose_settings([*defaults, *given, *others])
    references = _number(values, "references", 200)
    if references < settings.retrieval.neighbors:
        raise SettingsError(
            f"references={references} are fewer than retrieval.neighbors={settings.retrieval.neighbors}. Raise "
            "references, or lower retrieval.neighbors."
        )
    kind = choose(values, "kind", Kind) or Kind.object
    device = choose_device(settings.device)
    used = check_runtime(settings.runtime, settings.precision, device, settings.onnx_providers)
    if "images" in values:
        pictures = _spread(find_images(Path(values["images"]).expanduser()))
    else:
        pictures = write_pictures(scratch / "pictures", kind, settings.image_size, _PICTURES)
    cascade = simulate(settings, kind, references, pictures, scratch)
    return Subject(settings, ready(cascade, settings, device), used, pictures, device)


def _spread(paths: list[Path]) -> list[Path]:
    """At most ``_PICTURES`` of the paths, evenly spread."""
    return [paths[round(row)] for row in np.linspace(0, len(paths) - 1, min(len(paths), _PICTURES))]


def _output(values: dict[str, str]) -> Path:
    default = values.get("run", f"outputs/benchmark/{datetime.now():%Y-%m-%d_%H-%M-%S}")
    return Path(values.get("output", default)).expanduser()


@contextmanager
def _leaving_when_told_to_end() -> Iterator[None]:
    """Leave ``with`` blocks on SIGTERM (of a queue): simulated references, gigabytes, would stay on the disk."""
    if threading.current_thread() is not threading.main_thread():  # the only one that may
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _threads(values: dict[str, str]) -> int:
    threads = _number(values, "threads", torch.get_num_threads())
    cores = os.cpu_count() or 1
    if threads > _THREADS_A_CORE * cores:
        raise SettingsError(f"threads={threads} are too many: this machine has {cores} cores; give as many, or fewer.")
    return threads


def _number(values: dict[str, str], key: str, default: int, least: int = 1) -> int:
    return whole_number(key, values.get(key, str(default)), least)
