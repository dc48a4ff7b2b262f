"""The supervised scenario's split: some real defective test images are learned from, and leave the test set for good.

Which ones stands in the run directory, so that none of them is ever tested, whatever becomes of the data set.
"""

import csv
import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cpr_lightning.choices import Scenario
from cpr_lightning.data.samples import Sample, Samples
from cpr_lightning.errors import DataError, RunError, SettingsError
from cpr_lightning.files import write_csv
from cpr_lightning.settings import Settings

log = logging.getLogger(__name__)

RECORD = "supervised.csv"


class Learned(NamedTuple):
    """An image that a run learns from, as its ``supervised.csv`` has it."""

    path: str  # where it lay when training began
    defect: str
    sha256: str  # of the file's bytes

    @property
    def name(self) -> str:
        """What it is called wherever the data set lies."""
        return f"{self.defect}/{Path(self.path).name}"


def split(samples: Samples, settings: Settings, folder: Path) -> Samples:
    """Take the images to learn from out of the test set, and record them in the run directory.

    A resumed run goes on with those that it was started with.

    Args:
        samples: all of the category, checked.
        settings: of the run. Nothing happens in the unsupervised scenario.
        folder: the run directory.

    Raises:
        DataError: there are too few defective images with masks, or one that a resumed run needs is gone or changed.
        SettingsError: a resumed run was started in another scenario, or with another number of images.
    """
    if settings.resume is None:
        (folder / RECORD).unlink(missing_ok=True)  # of a run that ended here before it was worth resuming
    learned = read_learned(folder)
    if settings.scenario is Scenario.unsupervised:
        if learned is not None:
            raise SettingsError(
                f"The run in {folder} was started with scenario=supervised, and has learned from test images. Resume "
                "it without scenario=, or start a new run."
            )
        return samples
    if learned is None:
        chosen = _choose(samples, settings)
        learned = [Learned(str(sample.image), sample.defect, _digest(sample.image)) for sample in chosen]
        _write_learned(folder, learned)
    else:
        chosen = _found_again(samples, learned, settings, folder)
    rest = _without(samples, learned)
    copies = len(samples.test) - len(rest.test) - len(chosen)
    if copies:
        log.warning("%d more test images are copies of those that are learned from; they are left out too.", copies)
    if not any(sample.label for sample in rest.test):
        log.warning("All defective images are learned from; with none left to test with, there will be no metrics.")
    log.info("Learning from %d real defective images; %d images are left to test with", len(chosen), len(rest.test))
    return replace(rest, defective=chosen)


def leave_out_learned(samples: Samples, settings: Settings, folder: Path) -> Samples:
    """The samples without what the run in ``folder`` learned from, however the data set has changed since.

    An image is left out if it has the name or the content of one that was learned from.

    Raises:
        RunError: the run is supervised, but its ``supervised.csv`` is missing or damaged.
    """
    learned = read_learned(folder)
    if learned is None:
        if settings.scenario is Scenario.unsupervised:
            return samples
        raise RunError(
            f"{folder / RECORD} is missing: it says which test images this supervised run has learned from, and they "
            "must not be tested. Copy the run again, or train it again."
        )
    rest = _without(samples, learned)
    gone = len(learned) - (len(samples.test) - len(rest.test))
    if gone > 0:
        log.warning("%d of the %d images that the run learned from are not in the data set now.", gone, len(learned))
    return rest


def read_learned(folder: Path) -> list[Learned] | None:
    """The images that the run in ``folder`` learns from; None if it has no ``supervised.csv``.

    Raises:
        RunError: the file is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, strict=True))
        learned = [Learned(*row) for row in rows[1:]]
    except (csv.Error, TypeError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is damaged ({error}). Copy the run again, or train it again.") from error
    if not learned or rows[0] != list(Learned._fields):
        raise RunError(f"{path} is damaged (it names no image). Copy the run again, or train it again.")
    return learned


def _write_learned(folder: Path, learned: Sequence[Learned]) -> None:
    write_csv(folder / RECORD, list(Learned._fields), [list(row) for row in learned])


def _choose(samples: Samples, settings: Settings) -> list[Sample]:
    wanted = settings.supervised.images
    defective = [sample for sample in samples.test if sample.label]
    masked = sorted((sample for sample in defective if sample.mask is not None), key=lambda sample: sample.image)
    # Of copies one, so that as many different images are learned from as were asked for.
    first_of: dict[str, Sample] = {}
    for sample in masked:
        first_of.setdefault(_digest(sample.image), sample)
    different = list(first_of.values())
    if len(different) < wanted:
        folder = os.path.commonpath([sample.image.parent for sample in defective]) if defective else None
        unfit = len(defective) - len(different)
        raise DataError(
            f"scenario=supervised learns from supervised.images={wanted} different defective images with masks, but "
            f"{folder or settings.dataset.root} holds {len(different)}"
            + (f" ({unfit} more are copies or have no mask)" if unfit else "")
            + ". Lower supervised.images, so that some are left to test with, or add images and masks."
        )
    seed = settings.seed if settings.supervised.seed is None else settings.supervised.seed
    # The old generator, because with seed 42 it chooses the images that the released code (and DRA before it) chose.
    order = np.random.RandomState(seed % 2**32).permutation(len(different))
    return [different[number] for number in order[:wanted]]


def _found_again(samples: Samples, learned: Sequence[Learned], settings: Settings, folder: Path) -> list[Sample]:
    """The images that a resumed run was started with."""
    if len(learned) != settings.supervised.images:
        raise SettingsError(
            f"supervised.images={settings.supervised.images}, but the run in {folder} was started with {len(learned)} "
            "images. Resume it without that key, or start a new run."
        )
    there = {(_name(sample), _digest(sample.image)): sample for sample in samples.test if sample.mask is not None}
    for row in learned:
        if (row.name, row.sha256) not in there:
            raise DataError(
                f"The run in {folder} learns from {row.path} ({RECORD}), but it or its mask is no longer in the data "
                "set, or has changed. Put it back, or start a new run."
            )
    return [there[row.name, row.sha256] for row in learned]


def _without(samples: Samples, learned: Sequence[Learned]) -> Samples:
    names, contents = {row.name for row in learned}, {row.sha256 for row in learned}
    test = [sample for sample in samples.test if _name(sample) not in names and _digest(sample.image) not in contents]
    return replace(samples, test=test)


def _name(sample: Sample) -> str:
    return f"{sample.defect}/{sample.image.name}"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
