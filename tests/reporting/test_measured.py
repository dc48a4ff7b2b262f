"""Means and spreads, against numpy."""

from collections.abc import Mapping
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from cpr_lightning.reporting.measured import Measured, measure, measure_speed
from cpr_lightning.reporting.records import Record
from cpr_lightning.reporting.rows import CategoryRow
from cpr_lightning.reporting.speeds import Speed

ALL = CategoryRow("average", ("a", "b", "c"))


def record(category: str, seed: int, pro: float | None, speed: Speed | None = None, written: float = 0.0) -> Record:
    metrics: Mapping[str, float] = {} if pro is None else {"pro": pro}
    names = (Path("run"), "folder", category, "cpr", "full", "unsupervised")
    return replace(Record(*names, seed, metrics, {}, written), speed=speed)


def same(
    found: Measured | None, mean: float, spread: float | None, count: int, categories: int = 1, of: int = 1
) -> bool:
    assert found is not None
    return astuple(found) == (pytest.approx(mean), spread and pytest.approx(spread), count, categories, of)


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(5).uniform(0.5, 1, (3, 4))  # categories × seeds


@pytest.fixture
def records(values: np.ndarray) -> list[Record]:
    return [record("abc"[i], j, float(value)) for (i, j), value in np.ndenumerate(values)]


def test_a_category_is_over_its_seeds(values: np.ndarray, records: list[Record]):
    found = measure(records, CategoryRow("b", ("b",)), "pro")
    assert same(found, 100 * values[1].mean(), 100 * values[1].std(ddof=1), 4)


def test_an_average_is_over_categories_of_each_seed_and_then_over_seeds(values: np.ndarray, records: list[Record]):
    found = measure(records, ALL, "pro")
    of_seeds = 100 * values.mean(axis=0)
    assert same(found, of_seeds.mean(), of_seeds.std(ddof=1), 4, 3, 3)
    assert found is not None
    assert found.complete
    assert not np.isclose(of_seeds.std(ddof=1), 100 * values.std(axis=1, ddof=1).mean())


def test_one_seed_has_no_spread(records: list[Record]):
    found = measure([run for run in records if run.seed == 2], ALL, "pro")
    assert found is not None
    assert (found.spread, found.count) == (None, 1)


def test_a_seed_that_lacks_a_category_is_in_no_average(values: np.ndarray, records: list[Record]):
    found = measure([run for run in records if (run.category, run.seed) != ("c", 1)], ALL, "pro")
    of_seeds = 100 * values[:, [0, 2, 3]].mean(axis=0)
    assert same(found, of_seeds.mean(), of_seeds.std(ddof=1), 3, 3, 3)


def test_an_average_over_fewer_categories_says_so(values: np.ndarray, records: list[Record]):
    found = measure([run for run in records if run.category != "c"], ALL, "pro")
    assert same(found, 100 * values[:2].mean(), None, 4, 2, 3)
    assert found is not None
    assert not found.complete
    diagonal = [run for run in records if run.seed == "abc".index(run.category)]
    found = measure(diagonal, ALL, "pro")  # every category, and no seed with all of them: complete, and no spread
    assert same(found, 100 * np.diag(values).mean(), None, 3, 3, 3)


def test_what_was_not_measured_is_missing(records: list[Record]):
    assert measure(records, CategoryRow("d", ("d",)), "pro") is None
    assert measure(records, ALL, "pixel_ap") is None
    assert measure([], ALL, "pro") is None
    undefined = [*(run for run in records if run.category != "a"), record("a", 0, None)]
    found = measure(undefined, ALL, "pro")
    assert found is not None
    assert (found.categories, found.of) == (2, 3)


def test_speeds_are_over_the_runs_that_were_timed_alike():
    def timed(rate: float, condition: str, written: float, tensorrt: bool = False) -> Record:
        return record("a", int(written), 0.5, Speed(rate, tensorrt, condition), written)

    runs = [timed(5, "old", 1), timed(10, "new", 2), timed(99, "old", 3), timed(20, "new", 4), record("a", 5, 0.5)]
    runs.append(timed(1000, "engine", 6, tensorrt=True))
    assert same(measure_speed(runs, tensorrt=False), 15, float(np.std([10, 20], ddof=1)), 2)
    assert measure_speed(runs, tensorrt=True) == Measured(1000, None, 1)
    assert measure_speed(runs[-2:-1], tensorrt=False) is None
