"""Reading every image and mask of a category once before any work: bad input is refused early."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

from cpr_lightning.data.images import read_image, read_mask
from cpr_lightning.data.layouts import Sample, Samples
from cpr_lightning.errors import DataError
from cpr_lightning.settings import OnError


class Checked(NamedTuple):
    """What can be used, and the sentences about what cannot."""

    samples: Samples
    problems: list[str]


def check(samples: Samples, on_error: OnError) -> Checked:
    """Decode everything once, in parallel.

    Raises:
        DataError: with ``on_error=raise``, the first problems found: an image that cannot be read, a mask of another
            size than its image, a mask without a defect on a defective image. With ``skip`` such samples are left out;
            it is still an error when no reference is left.
    """
    problems: list[str] = []
    kept: dict[str, list[Sample]] = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for part in ("references", "test"):
            listed: list[Sample] = getattr(samples, part)
            found = list(pool.map(_problem, listed))
            kept[part] = [sample for sample, problem in zip(listed, found, strict=True) if problem is None]
            problems += [problem for problem in found if problem is not None]
    if problems and on_error is not OnError.skip:
        more = f" And {len(problems) - 3} more such problems." if len(problems) > 3 else ""
        raise DataError("\n".join(problems[:3]) + more)
    if not kept["references"]:
        raise DataError(f"No good image of {samples.category} can be read: there is nothing to learn from.")
    return Checked(replace(samples, **kept), problems)


def _problem(sample: Sample) -> str | None:
    try:
        image = read_image(sample.image)
        mask = None if sample.mask is None else read_mask(sample.mask)
    except DataError as error:
        return str(error)
    if mask is None:
        return None
    if mask.shape != image.shape[:2]:
        return (
            f"The mask {sample.mask} is {mask.shape[1]}×{mask.shape[0]} pixels, but its image {sample.image} is "
            f"{image.shape[1]}×{image.shape[0]}. They must be of one size."
        )
    if not mask.any():
        return (
            f"The mask {sample.mask} marks no defect (no pixel above 127), but its image {sample.image} is among the "
            "defective ones."
        )
    return None
