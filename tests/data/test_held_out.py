"""Good images are held out of what a run learns from and matches with."""

from itertools import pairwise
from pathlib import Path

import pytest

from cpr_lightning.choices import Kind
from cpr_lightning.data.held_out import hold_out
from cpr_lightning.data.samples import Sample, Samples
from cpr_lightning.errors import DataError
from cpr_lightning.settings import RetrievalSettings, Settings, ValidationSettings


def samples(references: int, validation: int = 0) -> Samples:
    def good(folder: str, count: int) -> list[Sample]:
        return [Sample(Path(folder) / f"{number:03d}.png", None, 0, "good") for number in range(count)]

    return Samples("part", Kind.object, good("train", references), good("test", 3), good("validation", validation))


def settings(images: int, neighbors: int = 4) -> Settings:
    return Settings(validation=ValidationSettings(images), retrieval=RetrievalSettings(neighbors=neighbors))


def test_nothing_is_held_out_unless_asked():
    given = samples(10)
    assert hold_out(given, settings(0)) is given


@pytest.mark.parametrize(("references", "images"), [(5, 1), (10, 3), (100, 7), (14, 10), (264, 32)])
def test_so_many_are_held_out_spread_over_all(references: int, images: int):
    given = samples(references)
    left = hold_out(given, settings(images))
    assert len(left.validation) == images
    assert sorted([*left.references, *left.validation], key=lambda sample: sample.image) == given.references
    assert left.test == given.test
    rows = [int(sample.image.stem) for sample in left.validation]
    gaps = {later - earlier for earlier, later in pairwise(rows)}
    assert gaps <= {references // images, references // images + 1}


def test_a_validation_split_comes_first():
    given = samples(10, validation=5)
    assert hold_out(given, settings(5)) is given
    more = hold_out(given, settings(7))
    assert more.validation[:5] == given.validation
    assert (len(more.validation), len(more.references)) == (7, 8)


@pytest.mark.parametrize(("validation", "images", "most"), [(0, 7, 6), (0, 500, 6), (2, 9, 8)])
def test_too_few_left_to_learn_from_is_refused(validation: int, images: int, most: int):
    given = samples(10, validation)
    with pytest.raises(DataError, match=f"validation.images={images} .*retrieval.neighbors=4.* {most} at most"):
        hold_out(given, settings(images))
    assert len(hold_out(given, settings(most)).references) == 4
