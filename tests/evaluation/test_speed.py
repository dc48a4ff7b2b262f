"""Latency and stages, with a clock that only moves when a part of the cascade moves it: every number is known."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.choices import Codec
from cpr_lightning.evaluation import speed
from cpr_lightning.evaluation.speed import STAGES, measure_latency, measure_stages, summary
from cpr_lightning.model import cascade as cascade_module
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.cascade import CascadePatchRetrieval
from cpr_lightning.model.foreground import Foreground
from cpr_lightning.model.global_retrieval import GlobalRetrieval
from cpr_lightning.model.local_branch import LocalBranch
from cpr_lightning.model.network import LocalFeatures
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.settings import ScoringSettings

SIZE = 64


class Clock:
    """Stands in for the clock of :mod:`cpr_lightning.evaluation.speed`."""

    def __init__(self) -> None:
        self.now = 0

    def perf_counter_ns(self) -> int:
        return self.now

    def monotonic(self) -> float:
        return 0.0

    def slowed(self, function: Callable[..., Any], milliseconds: float) -> Callable[..., Any]:
        def slow(*arguments: Any, **named: Any) -> Any:
            self.now += round(milliseconds * 1e6)
            return function(*arguments, **named)

        return slow


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(speed, "time", clock)
    return clock


@pytest.fixture
def cascade(small_backbone: Backbone) -> CascadePatchRetrieval:
    """Random all through: 5 references, two scales, a foreground branch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        features = LocalFeatures(small_backbone, LocalBranch(small_backbone.channels, 8)).eval()
        bank = ReferenceBank([(16, 16, 8), (8, 8, 8)], Codec.flat)
        bank.add([F.normalize(torch.randn(5, 8, side, side), dim=1) for side in (16, 8)])
        histograms = torch.rand(5, 25, 13)
        retrieval = GlobalRetrieval(torch.rand(12, small_backbone.channels[0]), histograms)
        foreground = Foreground(torch.randn(small_backbone.channels[0]), torch.tensor(0.5))
        return CascadePatchRetrieval(
            features,
            retrieval,
            bank,
            foreground,
            torch.rand(5, 16, 16),
            neighbors=3,
            windows=[3, 1],
            scoring=ScoringSettings(top_pixels=50),
        )


def pictures(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)


def test_the_warm_up_is_left_out_and_batches_take_turns(clock: Clock):
    batches = [pictures(2, seed) for seed in range(3)]
    seen: list[int] = []

    def score(images: Tensor) -> None:
        number = next(row for row, batch in enumerate(batches) if batch is images)
        seen.append(number)
        # The first four are slow, as those of a cold machine are; the others take 2, 4 or 6 ms by their batch.
        clock.now += 900_000_000 if len(seen) <= 4 else 2_000_000 * (number + 1)

    taken = measure_latency(score, batches, runs=10, warmup=4)
    assert seen == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    assert taken.tolist() == pytest.approx([2.0, 3.0, 1.0, 2.0, 3.0, 1.0])  # per image: half of its batch of two


def test_the_summary_is_of_all_times():
    times = np.random.default_rng(1).exponential(5.0, 1000)
    said = summary(times)
    ranked = np.sort(times)
    assert said["latency_ms"] == pytest.approx((ranked[499] + ranked[500]) / 2)
    assert said["latency_min_ms"] == ranked[0]
    assert said["latency_mean_ms"] == pytest.approx(times.sum() / 1000)
    assert said["images_per_second"] == pytest.approx(1000 / (times.sum() / 1000))
    # Between the two times that the percentile's rank, 0.95 · 999 from 0, lies between; likewise the others.
    for key, rank in {"latency_p5_ms": 49, "latency_p95_ms": 949, "latency_p99_ms": 989}.items():
        assert ranked[rank] <= said[key] <= ranked[rank + 1], key
    assert summary(np.array([4.0])) == dict.fromkeys(said, 4.0) | {"images_per_second": 250.0}


@pytest.fixture
def slow_parts(cascade: CascadePatchRetrieval, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part takes a time of its own."""
    monkeypatch.setattr(cascade, "run_network", clock.slowed(cascade.run_network, 30))
    monkeypatch.setattr(cascade.retrieval, "forward", clock.slowed(cascade.retrieval.forward, 2))
    monkeypatch.setattr(cascade, "match", clock.slowed(cascade.match, 5))
    monkeypatch.setattr(cascade, "joint_foreground", clock.slowed(cascade.joint_foreground, 0.5))
    monkeypatch.setattr(cascade_module, "postprocess", clock.slowed(cascade_module.postprocess, 1))
    monkeypatch.setattr(cascade_module, "image_score", clock.slowed(cascade_module.image_score, 0.25))


@pytest.mark.usefixtures("slow_parts")
def test_every_stage_gets_the_time_of_its_parts(cascade: CascadePatchRetrieval, clock: Clock):
    batch = pictures(2, 1)
    decode = clock.slowed(lambda number: [batch][number], 7)
    stages = measure_stages(cascade, [batch], decode, runs=3)
    assert tuple(stages) == STAGES
    per_batch = {"decode": 7, "network": 30, "global_retrieval": 2, "matching": 5, "foreground": 0.5}
    assert stages == pytest.approx({key: ms / 2 for key, ms in per_batch.items()} | {"postprocessing": 1.25 / 2})
    # Together they are the whole: nothing that takes time is outside of them.
    whole = measure_latency(cascade, [batch], runs=2, warmup=1)
    assert sum(stages.values()) - stages["decode"] == pytest.approx(float(whole[0]))


@pytest.mark.usefixtures("slow_parts")
def test_stages_are_medians(cascade: CascadePatchRetrieval, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    waits = iter([1, 100, 3])
    plain = cascade.match
    monkeypatch.setattr(cascade, "match", lambda *given: clock.slowed(plain, next(waits))(*given))
    stages = measure_stages(cascade, [pictures(1, 1)], lambda _: pictures(1, 1), runs=3)
    assert stages["matching"] == pytest.approx(5 + 3)


def test_watching_changes_neither_the_scores_nor_the_cascade(cascade: CascadePatchRetrieval):
    batch = pictures(1, 1)
    plain, seen = cascade(batch), []
    before = [dict(vars(owner)) for owner in (cascade, cascade.retrieval, cascade_module)]
    cascade.register_forward_hook(lambda *given: seen.append(given[2]))
    hooked = [dict(vars(owner)) for owner in (cascade, cascade.retrieval, cascade_module)]
    measure_stages(cascade, [batch], lambda _: batch, runs=2)
    assert len(seen) == 2
    for output in seen:
        assert torch.equal(output.anomaly_map, plain.anomaly_map)
        assert torch.equal(output.score, plain.score)
    assert [dict(vars(owner)) for owner in (cascade, cascade.retrieval, cascade_module)] == hooked
    assert [set(held) for held in hooked] == [set(held) for held in before]


def test_a_part_that_fails_leaves_the_cascade_as_it_was(
    cascade: CascadePatchRetrieval, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(cascade, "joint_foreground", broken)
    with pytest.raises(RuntimeError, match="broken"):
        measure_stages(cascade, [pictures(1, 1)], lambda _: pictures(1, 1), runs=1)
    assert cascade.joint_foreground is broken
    assert "match" not in vars(cascade)
    assert "forward" not in vars(cascade.retrieval)
    assert SimpleNamespace(**vars(cascade_module)).postprocess.__name__ == "postprocess"
