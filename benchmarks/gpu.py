"""Everything that is to be known of a GPU, in one call of less than ten minutes: parity first, then speed.

    python benchmarks/gpu.py [--output gpu.json] [--quick]

1. The matching kernel against the plain formulation: every codec and type of query.
2. The whole cascade on the GPU against the CPU: anomaly maps and neighbors.
3. Matching alone, both scales in one CUDA graph; target 60 µs at batch 1.
4. Whole images, the cascade as one CUDA graph: variants × precision × runtime × batch; targets at batch 1: 1,000
   images a second for CPR, 1,500 for Fast, 3,000 for Faster.
5. Training steps a second at batch 32.

Prints a line of JSON for each result as it comes, so that a run that is cut short still says something.
"""

import argparse
import copy
import itertools
import json
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from speed import variant
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.assembly import ready
from cpr_lightning.choices import Codec, Kind, Precision, Runtime
from cpr_lightning.data.images import read_image
from cpr_lightning.environment import describe_environment
from cpr_lightning.model.cascade import CascadePatchRetrieval
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.retrieval.stored import Stored
from cpr_lightning.retrieval.window import WindowMatch, match_window
from cpr_lightning.retrieval.window_plain import match_window_plain
from cpr_lightning.runtime.cuda_graph import CascadeGraph
from cpr_lightning.simulated import simulate, write_pictures
from training import example, steps

_GPU, _CPU = torch.device("cuda"), torch.device("cpu")
_SCALES = ((80, 3), (40, 1))  # cells on a side, window
_REFERENCES = 200


def main() -> None:
    """Run all parts; a part that fails is reported and the others go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks/gpu.py measures a GPU, and torch sees none here.")
    replays = 50 if options.quick else 500
    results: list[dict[str, Any]] = [{"part": "environment", **describe_environment()}]
    parts: list[Callable[[], list[dict[str, Any]]]] = [
        kernel_parity,
        lambda: matching(replays),
        cascade_parity,
        lambda: whole(replays),
        lambda: training(20 if options.quick else 60),
    ]
    for part in parts:
        started = time.perf_counter()
        try:
            found = part()
        except Exception:
            found = [{"part": "failed", "traceback": traceback.format_exc()}]
        results += [*found, {"part": "time", "seconds": round(time.perf_counter() - started, 1)}]
        if options.output is not None:
            options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def said(**result: Any) -> dict[str, Any]:
    """Print a result and hand it on."""
    print(json.dumps(result), flush=True)
    return result


def microseconds(call: Callable[[], object], replays: int) -> float:
    """Median time of a replay of a CUDA graph of ``call``, on the GPU's own clock."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = call()
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(replays + 1)]
    for _ in range(20):
        graph.replay()
    for mark in marks[:-1]:
        mark.record()
        graph.replay()
    marks[-1].record()
    torch.cuda.synchronize()
    del kept
    times = sorted(1000 * first.elapsed_time(second) for first, second in itertools.pairwise(marks))
    return times[len(times) // 2]


def bank_of(dim: int, codec: Codec) -> ReferenceBank:
    """Random references on the GPU."""
    generator = torch.Generator().manual_seed(0)
    features = [F.normalize(torch.randn(40, dim, side, side, generator=generator), dim=1) for side, _ in _SCALES]
    bank = ReferenceBank([(side, side, dim) for side, _ in _SCALES], codec, _REFERENCES)
    if bank.needs_training:
        bank.train([scale[:16] for scale in features])
    for _ in range(_REFERENCES // 40):
        bank.add(features)
    bank.place(_GPU)
    return bank


def queries_of(batch: int, dim: int, dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """Random queries per scale, and K = 10 neighbors of each."""
    generator = torch.Generator("cuda").manual_seed(1)
    queries = [torch.randn(batch, side, side, dim, generator=generator, device=_GPU) for side, _ in _SCALES]
    order = torch.rand(batch, _REFERENCES, generator=generator, device=_GPU).argsort(1)
    return [F.normalize(query, dim=-1).to(dtype) for query in queries], order[:, :10].contiguous()


def kernel_parity() -> list[dict[str, Any]]:
    """Largest difference of a distance from the plain formulation, and the share of cells that match the same place."""
    results = []
    for codec in Codec:
        bank = bank_of(384, codec)
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            queries, neighbors = queries_of(2, 384, dtype)
            worst, same = 0.0, 1.0
            for query, references, (_, window) in zip(queries, bank.stored(), _SCALES, strict=True):
                found = match_window(query, references, neighbors, window)
                plain = match_window_plain(query, references, neighbors, window)
                worst = max(worst, (found.distance - plain.distance).abs().max().item())
                equal = found.place == plain.place
                same = min(same, equal.float().mean().item())
            names = {"codec": codec.value, "query": str(dtype)}
            results.append(said(part="kernel_parity", **names, difference=worst, same_place=same))
    return results


def match_both(queries: list[Tensor], stored: list[Stored], neighbors: Tensor) -> list[WindowMatch]:
    """Match both scales."""
    scales = zip(queries, stored, _SCALES, strict=True)
    return [
        match_window(query, references, neighbors, window, places=False) for query, references, (_, window) in scales
    ]


def matching(replays: int) -> list[dict[str, Any]]:
    """Microseconds of both scales of a batch."""
    results = []
    for dim in (384, 64, 16):
        for codec in (Codec.fp16, Codec.flat, Codec.sq8) if dim == 384 else (Codec.fp16,):
            stored = bank_of(dim, codec).stored()
            for dtype in (torch.float16, torch.bfloat16, torch.float32) if codec is Codec.fp16 else (torch.float16,):
                for batch in (1, 32):
                    queries, neighbors = queries_of(batch, dim, dtype)

                    both = partial(match_both, queries, stored, neighbors)
                    names = {"dim": dim, "codec": codec.value, "query": str(dtype), "batch": batch}
                    results.append(said(part="matching", **names, microseconds=microseconds(both, replays)))
    return results


def simulated(name: str, kind: Kind, folder: Path) -> tuple[CascadePatchRetrieval, Tensor, Any]:
    """A cascade of a variant with simulated references, 32 images on the GPU, and the settings."""
    settings = variant(name)
    pictures = write_pictures(folder / "pictures", kind, settings.image_size, 32)
    cascade = simulate(settings, kind, _REFERENCES, pictures, folder)
    images = torch.stack([torch.from_numpy(read_image(path, settings.image_size)) for path in pictures[:32]])
    return cascade, images.to(_GPU), settings


def cascade_parity() -> list[dict[str, Any]]:
    """Anomaly maps of four images on the GPU against those on the CPU, and as a graph against one by one."""
    results = []
    for name, kind in (("cpr", Kind.object), ("faster", Kind.texture)):
        with tempfile.TemporaryDirectory() as scratch:
            cascade, images, settings = simulated(name, kind, Path(scratch))
            few = images[:4].cpu()
            expected = cascade(few)
            for precision in (Precision.fp32, Precision.fp16, Precision.bf16):
                settings.precision, settings.runtime = precision, Runtime.eager
                ready(cascade, settings, _GPU)
                found = cascade(few.to(_GPU), neighbors=expected.neighbors.to(_GPU))
                graphed = CascadeGraph(cascade, len(few), settings.image_size)(few)
                own = cascade(few.to(_GPU))
                span = expected.anomaly_map.max()
                results.append(
                    said(
                        part="cascade_parity",
                        variant=name,
                        precision=precision.value,
                        map_difference=((found.anomaly_map.cpu() - expected.anomaly_map).abs().max() / span).item(),
                        graph_difference=((graphed.anomaly_map - own.anomaly_map).abs().max() / span.to(_GPU)).item(),
                        same_neighbors=(own.neighbors.cpu() == expected.neighbors).float().mean().item(),
                    )
                )
    return results


def whole(replays: int) -> list[dict[str, Any]]:
    """Images a second of the whole cascade as one graph; the copy of the image to the GPU and of the map is in it."""
    results = []
    for name in ("cpr", "fast", "faster"):
        with tempfile.TemporaryDirectory() as scratch:
            cascade, images, settings = simulated(name, Kind.texture, Path(scratch))
            for runtime in (Runtime.eager, Runtime.compile):
                for precision in (Precision.fp16, Precision.bf16, Precision.fp32):
                    settings.runtime, settings.precision = runtime, precision
                    ready(cascade, settings, _GPU)
                    for batch in (1, 32):
                        names = {"variant": name, "runtime": runtime.value, "precision": precision.value}
                        names |= {"batch": str(batch)}
                        try:
                            graph = CascadeGraph(cascade, batch, settings.image_size)
                        except Exception as error:
                            results.append(said(part="whole", **names, failed=str(error)[:500]))
                            continue
                        results.append(said(part="whole", **names, **_latency(graph, images[:batch], replays)))
    return results


def _latency(graph: CascadeGraph, images: Tensor, replays: int) -> dict[str, float]:
    taken = []
    for number in range(replays + 20):
        torch.cuda.synchronize()
        started = time.perf_counter()
        graph(images)
        torch.cuda.synchronize()
        if number >= 20:
            taken.append((time.perf_counter() - started) * 1e3)
    taken.sort()
    median = taken[len(taken) // 2]
    p95 = taken[int(len(taken) * 0.95)]
    return {"latency_ms": median, "p95_ms": p95, "images_per_second": 1e3 * len(images) / median}


def training(count: int) -> list[dict[str, Any]]:
    """Training steps a second at batch 32, and the plain formulation's."""
    results = []
    for backbone in ("resnet18", "densenet201"):
        for precision in ("fp32", "bf16"):
            options = argparse.Namespace(
                backbone=backbone, precision=precision, batch=32, steps=count, image_size=320, dim=384
            )
            ours, batch = example(options, _GPU)
            figures = steps(options, ours, copy.deepcopy(ours), batch, _GPU)
            results.append(said(part="training", **vars(options), **figures))
    return results


if __name__ == "__main__":
    main()
