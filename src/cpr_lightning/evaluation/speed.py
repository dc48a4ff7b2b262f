"""How fast the cascade is: latency by the paper's protocol, the stages it is made of, and the memory that it takes.

Latency is taken of the cascade as it is. Stages are taken in a pass of their own, in which the cascade's own parts are
timed where it calls them, so that watching them does not slow what is reported.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cpr_lightning.model import cascade as cascade_module
from cpr_lightning.model.cascade import CascadePatchRetrieval
from cpr_lightning.terminal import bar

STAGES = ("decode", "network", "global_retrieval", "matching", "foreground", "postprocessing")
"""In the order in which an image passes them. ``decode`` comes before the cascade and is no part of its latency."""

_REDRAWN = 0.5  # seconds between two looks of the progress bar
_MS = 1e-6  # milliseconds in a nanosecond


def measure_latency(
    score: Callable[[Tensor], object], batches: Sequence[Tensor], *, runs: int, warmup: int
) -> NDArray[np.float64]:
    """Time whole inferences, each from a still device to a still device.

    Args:
        score: the cascade, or a graph of it.
        batches: (B, H, W, 3) uint8 on the cascade's device; used in turn.
        runs: inferences; the paper's 2,000.
        warmup: the first of them, which are not counted; the paper's 1,000.

    Returns:
        (runs − warmup,) milliseconds per image: the time of an inference, divided by B.
    """
    synchronize = _synchronizer(batches[0].device)
    taken = np.empty(runs)
    for number in _watched(range(runs), "Measuring latency"):
        images = batches[number % len(batches)]
        synchronize()
        started = time.perf_counter_ns()
        score(images)
        synchronize()
        taken[number] = time.perf_counter_ns() - started
    return taken[warmup:] * _MS / len(batches[0])


def summary(milliseconds: NDArray[np.float64]) -> dict[str, float]:
    """Median, mean, percentiles and least of (N,) times per image, and the images per second of their mean."""
    p5, median, p95, p99 = np.percentile(milliseconds, [5, 50, 95, 99]).tolist()
    mean = float(milliseconds.mean())
    return {
        "latency_ms": median,
        "latency_mean_ms": mean,
        "latency_p5_ms": p5,
        "latency_p95_ms": p95,
        "latency_p99_ms": p99,
        "latency_min_ms": float(milliseconds.min()),
        "images_per_second": 1000 / mean,
    }


def measure_stages(
    cascade: CascadePatchRetrieval, batches: Sequence[Tensor], decode: Callable[[int], Tensor], *, runs: int
) -> dict[str, float]:
    """Median time of every stage, in milliseconds per image; see :data:`STAGES`.

    Args:
        cascade: ready to score, and warm.
        batches: as for :func:`measure_latency`.
        decode: reads batch number i from its files and puts it on the device.
        runs: passes through all stages.
    """
    watch = _Stopwatch(_synchronizer(batches[0].device))
    timed_decode = watch.around("decode", decode)
    passes = []
    with watch.inside(cascade):
        for number in _watched(range(runs), "Measuring stages"):
            watch.spent.clear()
            timed_decode(number % len(batches))
            cascade(batches[number % len(batches)])
            passes.append([watch.spent[stage] for stage in STAGES])
    medians = np.median(np.array(passes), axis=0) * _MS / len(batches[0])
    return dict(zip(STAGES, medians.tolist(), strict=True))


class _Stopwatch:
    """Adds up the nanoseconds that are spent in functions, by stage."""

    def __init__(self, synchronize: Callable[[], None]) -> None:
        self.spent: dict[str, int] = defaultdict(int)
        self._synchronize = synchronize

    def around(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, timed."""

        def timed(*arguments: Any, **named: Any) -> Any:
            self._synchronize()
            started = time.perf_counter_ns()
            result = function(*arguments, **named)
            self._synchronize()
            self.spent[stage] += time.perf_counter_ns() - started
            return result

        return timed

    @contextmanager
    def inside(self, cascade: CascadePatchRetrieval) -> Iterator[None]:
        """Time the parts of ``cascade`` where it calls them."""
        parts: list[tuple[str, Any, str]] = [
            ("network", cascade, "run_network"),
            ("global_retrieval", cascade.retrieval, "forward"),
            ("matching", cascade, "match"),
            ("foreground", cascade, "joint_foreground"),
            ("postprocessing", cascade_module, "postprocess"),
            ("postprocessing", cascade_module, "image_score"),
        ]
        with ExitStack() as replaced:
            for stage, owner, name in parts:
                replaced.enter_context(_replaced(owner, name, self.around(stage, getattr(owner, name))))
            yield


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another value for an attribute; a method of the class is covered by the object's own attribute meanwhile."""
    missing = object()
    before = vars(owner).get(name, missing)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is missing:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def _synchronizer(device: torch.device) -> Callable[[], None]:
    """Waits until the device has done all it was told."""
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)


def _watched(numbers: range, description: str) -> Iterable[int]:
    """``numbers``, with a progress bar on a terminal, drawn between inferences: a thread that draws would slow them."""
    with bar(auto_refresh=False) as progress:
        task = progress.add_task(description, total=len(numbers))
        drawn = time.monotonic()
        for number in numbers:
            yield number
            if time.monotonic() - drawn > _REDRAWN:
                progress.update(task, completed=number + 1, refresh=True)
                drawn = time.monotonic()
