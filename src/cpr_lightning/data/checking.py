"""Reading every image and mask of a category once before any work: bad input is refused early."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

from cpr_lightning.choices import OnError
from cpr_lightning.data.images import read_image
from cpr_lightning.data.samples import Sample, Samples
from cpr_lightning.errors import DataError, first_three


class Checked(NamedTuple):
    """What can be used, and the sentences about what cannot."""

    samples: Samples
    problems: list[str]


class Inspected(NamedTuple):
    """An image that was read.

    Attributes:
        size: its width and height, or None if it cannot be read.
        problem: what is wrong with it or its mask, or None.
    """

    size: tuple[int, int] | None
    problem: str | None


def check(samples: Samples, on_error: OnError) -> Checked:
    """Decode everything once, in parallel.

    Raises:
        DataError: with ``on_error=raise``, the first problems found: an image that cannot be read, a mask in colour,
            with other values than it may hold or of another size than its image, a mask without a defect. With
            ``skip`` such samples are left out; it is still an error when no reference is left.
    """
    problems: list[str] = []
    kept: dict[str, list[Sample]] = {}
    for part in ("references", "validation", "test"):
        listed: list[Sample] = getattr(samples, part)
        found = inspect(listed)
        kept[part] = [sample for sample, each in zip(listed, found, strict=True) if each.problem is None]
        problems += [each.problem for each in found if each.problem is not None]
    if problems and on_error is not OnError.skip:
        raise DataError(first_three(problems))
    if not kept["references"]:
        raise DataError(f"No good image of {samples.category} can be read: there is nothing to learn from.")
    return Checked(replace(samples, **kept), problems)


def inspect(samples: list[Sample]) -> list[Inspected]:
    """Read every image and mask, in parallel; in the order of ``samples``."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(_inspect, samples))


def _inspect(sample: Sample) -> Inspected:
    try:
        height, width = read_image(sample.image).shape[:2]
    except DataError as error:
        return Inspected(None, str(error))
    size = (width, height)
    try:
        mask = sample.read_mask()
    except DataError as error:
        return Inspected(size, str(error))
    if mask is None:
        return Inspected(size, None)
    if mask.shape != (height, width):
        return Inspected(
            size,
            f"The mask {sample.mask} is {mask.shape[1]}×{mask.shape[0]} pixels, but its image {sample.image} is "
            f"{width}×{height}. They must be of one size.",
        )
    if not mask.any():
        limit = 127 if sample.mask_threshold is None else sample.mask_threshold
        return Inspected(
            size,
            f"The mask {sample.mask} marks no defect (no pixel above {limit}), but its image {sample.image} is among "
            "the defective ones.",
        )
    return Inspected(size, None)
