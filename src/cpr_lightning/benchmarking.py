"""A whole benchmark of one cascade: what ``benchmark.json`` says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cpr_lightning.choices import Runtime
from cpr_lightning.data.images import read_image
from cpr_lightning.environment import describe_environment
from cpr_lightning.evaluation.memory import peak_mb, query_mb, restart_peak
from cpr_lightning.evaluation.speed import measure_latency, measure_stages, summary
from cpr_lightning.model.cascade import CascadePatchRetrieval
from cpr_lightning.runtime.cuda_graph import CascadeGraph
from cpr_lightning.settings import Settings

_STAGE_RUNS = 200  # at most; medians of more say the same


class Subject(NamedTuple):
    """What is measured."""

    settings: Settings
    cascade: CascadePatchRetrieval  # ready to score
    runtime: Runtime  # that computes its network part: never `auto`
    pictures: list[Path]  # images to score, in turn
    device: torch.device


def benchmark(subject: Subject, *, runs: int, warmup: int, batch: int, graph: bool = False) -> dict[str, Any]:
    """Latency, stages and memory of scoring, with the facts that they depend on.

    Args:
        subject: what to measure.
        runs: inferences.
        warmup: the first of them, which are not counted.
        batch: images scored at once; times are per image.
        graph: take latency of the cascade as one CUDA graph. Stages are taken without, for a graph has none.

    Returns:
        Standard JSON. Keys that end in ``_ms`` are milliseconds per image, in ``_mb`` mebibytes.

    Raises:
        SettingsError: ``graph`` is asked for where it cannot be had.
    """
    settings, cascade, device = subject.settings, subject.cascade, subject.device
    decode, number = _decoder(subject, batch)
    batches = [decode(row) for row in range(number)]
    beyond = query_mb(cascade, batches[0])
    score = CascadeGraph(cascade, batch, settings.image_size) if graph else cascade
    restart_peak(device)
    latency = summary(measure_latency(score, batches, runs=runs, warmup=warmup))
    peak = peak_mb(device)
    stage_runs = min(runs - warmup, _STAGE_RUNS)
    return {
        "variant": settings.variant,
        "device": str(device),
        "runtime": subject.runtime.value,
        "precision": settings.precision.value,
        "threads": torch.get_num_threads(),
        "batch": batch,
        "cuda_graph": graph,
        "runs": runs,
        "warmup": warmup,
        **latency,
        "stages_ms": measure_stages(cascade, batches, decode, runs=stage_runs),
        "stage_runs": stage_runs,
        "peak_memory_mb": peak,
        "query_memory_mb": beyond,
        "bank_device": str(cascade.bank.device),
        "bank_mb": sum(index.ntotal * index.code_size for index in cascade.bank.indexes) / 2**20,
        "references": len(cascade.bank),
        "neighbors": settings.retrieval.neighbors,
        "windows": settings.retrieval.windows,
        "codec": settings.bank.codec.value,
        "foreground": cascade.network.foreground is not None,
        "backbone": settings.backbone.name,
        "dim": settings.branch.dim if settings.branch.enabled else None,
        "image_size": settings.image_size,
        "images": len(subject.pictures),
        "environment": describe_environment(),
    }


def _decoder(subject: Subject, batch: int) -> tuple[Callable[[int], Tensor], int]:
    """What reads batch number i as (B, H, W, 3) uint8, as predict does; and how many different batches there are."""
    pictures, size, device = subject.pictures, subject.settings.image_size, subject.device

    def decode(number: int) -> Tensor:
        chosen = [pictures[(number * batch + row) % len(pictures)] for row in range(batch)]
        return torch.from_numpy(np.stack([read_image(path, size) for path in chosen])).to(device)

    return decode, max(1, len(pictures) // batch)
