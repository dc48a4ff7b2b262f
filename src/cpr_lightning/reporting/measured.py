"""Mean and spread over seeds, of a category and of an average over categories."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from cpr_lightning.reporting.records import Record
from cpr_lightning.reporting.rows import CategoryRow


@dataclass(frozen=True)
class Measured:
    """A measured number.

    Attributes:
        mean: over seeds, in percent; of a speed over runs, in images per second.
        spread: the sample standard deviation over them; None of one, and of an incomplete average.
        count: how many seeds (of a speed: runs) it is over.
        categories: how many categories it is over.
        of: how many it should be over.
    """

    mean: float
    spread: float | None
    count: int
    categories: int = 1
    of: int = 1

    @property
    def complete(self) -> bool:
        """Whether no category is missing."""
        return self.categories == self.of


def measure(records: Sequence[Record], row: CategoryRow, metric: str) -> Measured | None:
    """What the runs of one method say of a row.

    An average is over categories for each seed, then over the seeds that have all of them. Where none has, it is over
    the means of the categories there are, and says so (``complete``).

    Returns:
        None where no run of the row's categories has the metric.
    """
    values: dict[str, dict[int, float]] = {}
    for record in records:
        if record.category in row.members and metric in record.metrics:
            values.setdefault(record.category, {})[record.seed] = 100 * record.metrics[metric]
    if not values:
        return None
    number = len(row.members)
    complete = set.intersection(*(set(values.get(category, {})) for category in row.members))
    if complete:
        averages = [fmean(values[category][seed] for category in row.members) for seed in sorted(complete)]
        return summary(averages, number)
    seeds = {seed for of_category in values.values() for seed in of_category}
    mean = fmean(fmean(of_category.values()) for of_category in values.values())
    return Measured(mean, None, len(seeds), len(values), number)


def measure_speed(records: Sequence[Record], tensorrt: bool) -> Measured | None:
    """Images per second over the runs that were measured under the condition of the last one."""
    fast = fitting_speeds(records, tensorrt)
    return summary([record.speed.images_per_second for record in fast if record.speed is not None]) if fast else None


def fitting_speeds(records: Sequence[Record], tensorrt: bool) -> list[Record]:
    """The runs that :func:`measure_speed` is over."""
    timed = [record for record in records if record.speed is not None and record.speed.tensorrt == tensorrt]
    if not timed:
        return []
    last = max(timed, key=lambda record: record.written).speed
    return [
        record for record in timed if record.speed is not None and last and record.speed.condition == last.condition
    ]


def summary(values: Sequence[float], categories: int = 1) -> Measured:
    """Mean and spread of one or more numbers."""
    spread = stdev(values) if len(values) > 1 else None
    return Measured(fmean(values), spread, len(values), categories, categories)
