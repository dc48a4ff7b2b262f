"""Time of the network part in every runtime and precision: what `runtime=auto` rests on.

    python benchmarks/network.py [--variants cpr fast faster] [--runtimes eager openvino] [--output network.json]

All that is compared runs in one process, in turns, so that whatever else the machine does falls on all alike. On a busy
machine look at the least times, or at the processor times with `--threads 1`.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cpr_lightning.assembly import create_backbone, create_branch
from cpr_lightning.choices import Precision, Runtime
from cpr_lightning.environment import choose_device, describe_environment
from cpr_lightning.errors import SettingsError
from cpr_lightning.model.foreground import Foreground
from cpr_lightning.model.network import LocalFeatures, NetworkPart
from cpr_lightning.runtime.choosing import check_runtime, prepare
from cpr_lightning.settings import BackboneSettings, BranchSettings, Settings

VARIANTS = {"cpr": ("densenet201", 384), "fast": ("densenet201", 64), "faster": ("efficientnet_b0", 16)}


def main() -> None:
    """Prepare everything, measure in turns, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    runtimes = [runtime.value for runtime in Runtime if runtime is not Runtime.auto]
    parser.add_argument("--runtimes", nargs="+", choices=runtimes, default=runtimes)
    precisions = [precision.value for precision in Precision]
    parser.add_argument("--precisions", nargs="+", choices=precisions, default=precisions[:2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1, help="images per call")
    parser.add_argument("--size", type=int, default=320, help="pixels on a side")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--output", type=Path, help="write the numbers to this JSON file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    images = torch.randint(0, 256, (options.batch, options.size, options.size, 3), dtype=torch.uint8, device=device)

    rows: list[dict[str, object]] = []
    calls: list[Callable[[Tensor], Sequence[Tensor]]] = []
    for variant in options.variants:
        for runtime in map(Runtime, options.runtimes):
            for precision in map(Precision, options.precisions):
                try:
                    check_runtime(runtime, precision, device)
                except SettingsError as reason:
                    print(f"{variant} {runtime.value} {precision.value}: {reason}")
                    continue
                network = network_part(variant, options.size).to(device)  # each its own: a runtime may change layouts
                start = time.perf_counter()
                calls.append(prepare(runtime, network, precision, device, options.size))
                seconds = time.perf_counter() - start
                rows.append(
                    {
                        "variant": variant,
                        "runtime": runtime.value,
                        "precision": precision.value,
                        "prepare_s": round(seconds, 2),
                    }
                )
    for row, (wall, processor) in zip(rows, measure(calls, images, options.repeats), strict=True):
        row["median_ms"] = round(float(np.median(wall)) / options.batch, 2)
        row["min_ms"] = round(min(wall) / options.batch, 2)
        row["processor_min_ms"] = round(min(processor) / options.batch, 2)
    if not rows:
        return
    print("  ".join(f"{name:>16}" for name in rows[0]))
    for row in rows:
        print("  ".join(f"{value!s:>16}" for value in row.values()))
    if options.output is not None:
        measured = {"options": vars(options) | {"output": None}, "machine": describe_environment(), "rows": rows}
        options.output.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")


def network_part(variant: str, size: int) -> NetworkPart:
    """The network part of a variant with random weights, ready to be measured."""
    backbone_name, dim = VARIANTS[variant]
    settings = Settings(
        image_size=size,
        backbone=BackboneSettings(name=backbone_name, weights="random"),
        branch=BranchSettings(dim=dim),
    )
    backbone = create_backbone(settings)
    features = LocalFeatures(backbone, create_branch(settings, backbone))
    channels = backbone.channels[0]
    foreground = Foreground(torch.randn(channels) / channels, torch.tensor(0.5))
    return NetworkPart(features, torch.randn(settings.retrieval.clusters, channels), foreground).eval()


def measure(
    calls: Sequence[Callable[[Tensor], Sequence[Tensor]]], images: Tensor, repeats: int
) -> list[tuple[list[float], list[float]]]:
    """Per call, wall and processor times of every repetition in milliseconds."""
    times: list[tuple[list[float], list[float]]] = [([], []) for _ in calls]
    with torch.inference_mode():
        for _ in range(repeats):
            for call, (wall, processor) in zip(calls, times, strict=True):
                call(images)  # after another one ran, caches and threads are cold
                _finish(images)
                start, used = time.perf_counter(), time.process_time()
                call(images)
                _finish(images)
                wall.append((time.perf_counter() - start) * 1e3)
                processor.append((time.process_time() - used) * 1e3)
    return times


def _finish(images: Tensor) -> None:
    if images.is_cuda:
        torch.cuda.synchronize(images.device)


if __name__ == "__main__":
    main()
