"""Everything that there is to say about a category: what it holds, and all that is wrong with it."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cpr_lightning.data.checking import inspect
from cpr_lightning.data.layout import Layout
from cpr_lightning.data.samples import Sample
from cpr_lightning.errors import CategoryError, DataError


class Survey(NamedTuple):
    """One category.

    Attributes:
        category: its name.
        kind: object or texture; empty if nothing can be said.
        counts: good images to learn from (train) and for thresholds (valid.), images to test with, and their masks.
        sizes: how many images are of each size (width, height).
        problems: all that is wrong, in sentences.
    """

    category: str
    kind: str
    counts: dict[str, int]
    sizes: Counter[tuple[int, int]]
    problems: list[str]


COUNTED = ("train", "valid.", "good", "defective", "masks")


def survey(layout: Layout, category: str) -> Survey:
    """Read all images and masks of a category.

    Raises:
        CategoryError: the data set or the category is not there.
        SettingsError: the kind of an unknown category was not given.
    """
    try:
        samples, problems, remarks = layout.look(category)
    except CategoryError:
        raise
    except DataError as error:
        return Survey(category, "", dict.fromkeys(COUNTED, 0), Counter(), [str(error)])
    learned = samples.references + samples.validation
    inspected = inspect(learned + samples.test)
    defective = [sample for sample in samples.test if sample.label]
    numbers = (
        len(samples.references),
        len(samples.validation),
        len(samples.test) - len(defective),
        len(defective),
        sum(sample.mask is not None for sample in defective),
    )
    unreadable = [each.problem for each in inspected if each.problem is not None]
    return Survey(
        category,
        samples.kind.value,
        dict(zip(COUNTED, numbers, strict=True)),
        Counter(each.size for each in inspected if each.size is not None),
        [*problems, *remarks, *unreadable, *_in_both(learned, samples.test)],
    )


def _in_both(learned: Sequence[Sample], test: Sequence[Sample]) -> list[str]:
    """A sentence for each test image that is, byte for byte, one that is learned from."""
    first_of: dict[str, Path] = {}
    for sample in learned:
        first_of.setdefault(_digest(sample.image), sample.image)
    return [
        f"The test image {sample.image} is the same file, byte for byte, as {first_of[digest]}: what is learned from "
        "must not be tested with."
        for sample in test
        if (digest := _digest(sample.image)) in first_of
    ]


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return f"unreadable {path}"  # told already, and the same as no other
