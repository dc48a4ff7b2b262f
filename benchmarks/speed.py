"""The speed study: our cascade beside the plain formulation, and how its time grows with what it is given.

    python benchmarks/speed.py sides  [--output experiments/speed]     # side by side, variants and threads
    python benchmarks/speed.py share  [--output experiments/speed]     # the variants beside each other
    python benchmarks/speed.py curves [--output experiments/speed]     # against K, window, size, references, codec
    python benchmarks/plots.py experiments/speed                       # the plots

Everything that is compared is measured in one process and in turn (A B C A B C …), so that a machine that slows down
slows all of it. Times are milliseconds of one image, batch 1; the median is quoted, the least stands beside it.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the command line does where OpenVINO computes

import torch
from bank import write_sparse
from plain import PlainCascade
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.choices import Codec, Kind, Precision, Runtime
from cpr_lightning.composing import compose_settings
from cpr_lightning.data.images import read_image
from cpr_lightning.environment import describe_environment
from cpr_lightning.model.cascade import CascadePatchRetrieval
from cpr_lightning.model.global_retrieval import GlobalRetrieval
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.retrieval.window import match_window
from cpr_lightning.runtime.choosing import use_runtime
from cpr_lightning.settings import BankSettings, Settings
from cpr_lightning.simulated import simulate, write_pictures

_CPU = torch.device("cpu")
_REFERENCES = 48  # the plain formulation holds them decoded: 12 MB each
_IN_A_ROW = 10
_CHOICES = [
    (Runtime.eager, Precision.fp32),
    (Runtime.openvino, Precision.fp32),
    (Runtime.openvino, Precision.bf16),
]


def main() -> None:
    """Run one of the studies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=["sides", "share", "curves"])
    parser.add_argument("--output", type=Path, default=Path("experiments/speed"))
    parser.add_argument("--variants", nargs="*", default=["cpr", "fast", "faster"])
    parser.add_argument("--runs", type=int, default=30)
    options = parser.parse_args()
    studies = {"sides": lambda: sides(options.variants, options.runs), "share": lambda: share(options.runs)}
    found = studies.get(options.study, lambda: curves(options.runs))()
    options.output.mkdir(parents=True, exist_ok=True)
    content = {"environment": describe_environment(), "runs": options.runs, "rows": found}
    (options.output / f"{options.study}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def timed(subjects: dict[str, Callable[[], Any]], runs: int) -> dict[str, dict[str, float]]:
    """Run all subjects in turn; milliseconds of each."""
    taken: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(runs + 3):
        for name, subject in subjects.items():
            started = time.perf_counter()
            subject()
            if number >= 3:
                taken[name].append((time.perf_counter() - started) * 1e3)
    return {
        name: {"median_ms": round(median(times), 3), "min_ms": round(min(times), 3)} for name, times in taken.items()
    }


@contextmanager
def simulated(settings: Settings, kind: Kind, references: int) -> Iterator[tuple[CascadePatchRetrieval, Tensor]]:
    """A cascade with simulated references, and an image (1, H, W, 3)."""
    with tempfile.TemporaryDirectory() as scratch:
        pictures = write_pictures(Path(scratch) / "pictures", kind, settings.image_size, 8)
        cascade = simulate(settings, kind, references, pictures, Path(scratch))
        yield cascade, torch.from_numpy(read_image(pictures[0], settings.image_size)[None])


def variant(name: str, *overrides: str) -> Settings:
    """A variant with random weights."""
    return compose_settings(
        ["dataset=tiny", "category=simulated", "backbone.weights=random", f"variant={name}", *overrides]
    )


def sides(variants: list[str], runs: int) -> list[dict[str, Any]]:
    """The plain formulation, and ours with each runtime: whole images, and matching alone."""
    rows = []
    for name in variants:
        for kind in (Kind.texture, Kind.object) if name == "cpr" else (Kind.texture,):
            with simulated(variant(name), kind, _REFERENCES) as (cascade, image):
                for threads in (2, 1) if kind is Kind.texture else (2,):
                    torch.set_num_threads(threads)
                    facts = {"variant": name, "kind": kind.value, "threads": threads}
                    for subject, figures in _whole(cascade, image, runs).items():
                        rows.append({**facts, "what": "whole", "subject": subject, **figures})
                        print(rows[-1], flush=True)
                    for subject, figures in _matching(cascade, image, runs).items():
                        rows.append({**facts, "what": "matching", "subject": subject, **figures})
                        print(rows[-1], flush=True)
                torch.set_num_threads(2)
    return rows


def share(runs: int) -> list[dict[str, Any]]:
    """The variants' whole images in turn, ten of each at a time, so that each finds the caches as a stream of its own
    leaves them; and their share of CPR's time.
    """
    rows = []
    names = ("cpr", "fast", "faster")
    with ExitStack() as stack:
        made = {name: stack.enter_context(simulated(variant(name), Kind.texture, 200)) for name in names}
        for runtime, precision in _CHOICES:
            subjects = {}
            for name, (cascade, image) in made.items():
                use_runtime(cascade, runtime, precision, _CPU, image_size=image.shape[1])
                subjects[name] = lambda cascade=cascade, image=image: [cascade(image) for _ in range(_IN_A_ROW)]
            figures = timed(subjects, runs)
            for name, found in figures.items():
                times = {key: round(value / _IN_A_ROW, 3) for key, value in found.items()}
                shares = {key.replace("_ms", "_share"): round(found[key] / figures["cpr"][key], 4) for key in found}
                facts = {"variant": name, "subject": f"{runtime.value} {precision.value}"}
                rows.append({**facts, **times, **shares})
                print(rows[-1], flush=True)
    return rows


def decoded(bank: ReferenceBank) -> list[Tensor]:
    """Per scale (N, D, H, W) float32: how the plain formulation holds its references."""
    return [scale.decode(torch.arange(len(bank))).movedim(-1, 1).contiguous() for scale in bank.stored()]


def _whole(cascade: CascadePatchRetrieval, image: Tensor, runs: int) -> dict[str, dict[str, float]]:
    plain = PlainCascade(cascade, decoded(cascade.bank))
    subjects: dict[str, Callable[[], Any]] = {"plain": lambda: plain(image)}
    for runtime, precision in _CHOICES:
        name = use_runtime(cascade, runtime, precision, _CPU, image_size=image.shape[1])
        subjects[name] = _with(cascade, cascade.run_network, image)
    expected, output = plain(image), subjects["eager fp32"]()
    difference = (output.anomaly_map[0] - expected[0]).abs().max() / expected[0].abs().max()
    print(f"largest difference from the plain map: {difference.item():.1e} of its maximum")
    return timed(subjects, runs)


def _with(cascade: CascadePatchRetrieval, network: Any, image: Tensor) -> Callable[[], Any]:
    def run() -> Any:
        cascade.run_network = network
        return cascade(image)

    return run


def _matching(cascade: CascadePatchRetrieval, image: Tensor, runs: int) -> dict[str, dict[str, float]]:
    described = cascade.network.named(cascade.network(image))
    rows = cascade.retrieval(described.codes, cascade.neighbors)
    plain = PlainCascade(cascade, decoded(cascade.bank))
    local = [scale[0].movedim(-1, 0).contiguous() for scale in described.local]
    with torch.inference_mode():
        subjects: dict[str, Callable[[], Any]] = {"plain": lambda: plain.match(local, rows[0])}
        for codec in Codec:
            stored = recoded(cascade.bank, codec).stored()
            subjects[codec.value] = lambda stored=stored: [
                match_window(query, references, rows, window, places=False)
                for query, references, window in zip(described.local, stored, cascade.windows, strict=True)
            ]
        return timed(subjects, runs)


def recoded(bank: ReferenceBank, codec: Codec) -> ReferenceBank:
    """The same references in another codec."""
    made = ReferenceBank(bank.shapes, codec, capacity=len(bank))
    features = decoded(bank)
    if made.needs_training:
        made.train([scale[:16] for scale in features])
    made.add(features)
    return made


def curves(runs: int) -> list[dict[str, Any]]:
    """Time of matching, targeting and whole images against one quantity at a time; CPR, the fastest runtime in fp32."""
    rows: list[dict[str, Any]] = []
    base = variant("cpr")

    def measure(axis: str, value: Any, cascade: CascadePatchRetrieval, image: Tensor) -> None:
        described = cascade.network.named(cascade.run_network(image))
        with torch.inference_mode():
            neighbors = cascade.retrieval(described.codes, cascade.neighbors)
            subjects = {
                "whole": lambda: cascade(image),
                "network": lambda: cascade.run_network(image),
                "targeting": lambda: cascade.retrieval(described.codes, cascade.neighbors),
                "matching": lambda: cascade.match(described.local, neighbors),
            }
            for subject, figures in timed(subjects, runs).items():
                rows.append({"axis": axis, "value": value, "subject": subject, **figures})
                print(rows[-1], flush=True)

    with simulated(base, Kind.texture, 64) as (cascade, image):
        use_runtime(cascade, Runtime.auto, Precision.fp32, _CPU, image_size=base.image_size)
        for count in (1, 2, 5, 10, 20, 50):
            cascade.neighbors = count
            measure("neighbors", count, cascade, image)
        cascade.neighbors = base.retrieval.neighbors
        for window in (1, 3, 5, 7, 9, 11):
            cascade.windows = [window, 1]
            measure("window", window, cascade, image)
        cascade.windows = base.retrieval.windows
        own = cascade.bank
        for codec in Codec:
            cascade.bank = recoded(own, codec)
            measure("codec", codec.value, cascade, image)
        cascade.bank = own
        for references in (200, 1000, 5000, 20_000, 60_000):
            with tempfile.TemporaryDirectory() as scratch:
                grow(cascade, references, Path(scratch))
                measure("references", references, cascade, image)
    for size in (160, 224, 256, 320, 384, 512, 640):
        settings = replace(base, image_size=size, bank=BankSettings(codec=Codec.fp16))
        with simulated(settings, Kind.texture, 16) as (cascade, image):
            use_runtime(cascade, Runtime.auto, Precision.fp32, _CPU, image_size=size)
            measure("image_size", size, cascade, image)
    return rows


def grow(cascade: CascadePatchRetrieval, references: int, folder: Path) -> None:
    """Give the cascade so many references: random histograms, and a bank that is mapped from a file of zeros.

    The file is sparse, so that 20,000 references (122 GB) fit; what is read of it costs what written codes would cost.
    """
    blocks, bins = cascade.retrieval.histograms.shape[1:]
    generator = torch.Generator().manual_seed(0)
    histograms = torch.empty(references, blocks, bins).exponential_(generator=generator)
    histograms = F.normalize(histograms.square(), p=1, dim=2)
    cascade.retrieval = GlobalRetrieval(cascade.retrieval.codebook, histograms, cascade.retrieval.ignored_blocks)
    write_sparse(folder, references)
    cascade.bank = ReferenceBank.load(folder, cascade.bank.shapes, Codec.fp16)


if __name__ == "__main__":
    main()
