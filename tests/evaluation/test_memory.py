"""Memory that is known to be taken is seen, and only that."""

from collections.abc import Callable
from typing import cast

import pytest
import torch
from torch import Tensor

from cpr_lightning.evaluation.memory import peak_mb, query_mb, restart_peak
from cpr_lightning.model.cascade import CascadePatchRetrieval

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def restartable() -> None:
    if not restart_peak(CPU):
        pytest.skip("this system cannot restart the peak of a process's memory")


def take(megabytes: int) -> None:
    """Take memory and let go of it."""
    torch.ones(megabytes * 2**18)


def test_the_peak_is_of_what_came_after_the_restart():
    take(300)
    restart_peak(CPU)
    before = peak_mb(CPU)
    take(100)
    assert peak_mb(CPU) - before == pytest.approx(100, abs=15)
    restart_peak(CPU)
    assert peak_mb(CPU) - before == pytest.approx(0, abs=15)


class Scoring:
    """A cascade of which only the memory is real."""

    def __init__(self, run_network: Callable[[Tensor], None], rest: Callable[[], None]) -> None:
        self.run_network, self.rest = run_network, rest

    def __call__(self, images: Tensor) -> None:
        self.run_network(images)
        self.rest()


@pytest.mark.parametrize(("network", "rest", "beyond"), [(60, 160, 100), (60, 40, 0), (60, 60, 0)])
def test_a_query_is_charged_with_what_it_takes_beyond_the_network(network: int, rest: int, beyond: int):
    scoring = Scoring(lambda _: take(network), lambda: take(rest))
    found = query_mb(cast(CascadePatchRetrieval, scoring), torch.zeros(1, 8, 8, 3, dtype=torch.uint8))
    assert found == pytest.approx(beyond, abs=10)


def test_what_stays_in_memory_after_the_first_query_is_not_charged():
    """As the pages of a bank do, which is mapped from disk."""
    kept = []

    def rest() -> None:
        if not kept:
            kept.append(torch.ones(80 * 2**18))

    scoring = Scoring(lambda _: take(40), rest)
    found = query_mb(cast(CascadePatchRetrieval, scoring), torch.zeros(1, 8, 8, 3, dtype=torch.uint8))
    assert kept
    assert found == pytest.approx(0, abs=10)
