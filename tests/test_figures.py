"""Which test images a figure shows."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from cpr_lightning.data.samples import Sample
from cpr_lightning.figures import as_query, choose_queries


def samples(**counts: int) -> list[Sample]:
    """So many images of each sort."""
    return [
        Sample(Path(f"{defect}/{number:03d}.png"), None, int(defect != "good"), defect)
        for defect, count in counts.items()
        for number in range(count)
    ]


def chosen(count: int, **counts: int) -> dict[str, int]:
    return Counter(query.name.partition("/")[0] for query in choose_queries(samples(**counts), count))


def test_images_are_spread_evenly_over_the_sorts() -> None:
    assert chosen(8, good=20, bent=9, cut=9, hole=9) == {"bent": 2, "cut": 2, "hole": 2, "good": 2}
    assert chosen(5, good=20, bent=9, cut=9, hole=9) == {"bent": 2, "cut": 1, "hole": 1, "good": 1}
    assert chosen(8, good=2, bent=1, cut=9) == {"bent": 1, "cut": 5, "good": 2}
    assert chosen(2, good=20, bent=9, cut=9, hole=9) == {"bent": 1, "cut": 1}
    assert chosen(9, bent=2) == {"bent": 2}


def test_defects_come_by_name_and_good_images_last() -> None:
    names = [query.name for query in choose_queries(samples(good=2, zebra=2, bent=2), 6)]
    assert names == ["bent/000", "bent/001", "zebra/000", "zebra/001", "good/000", "good/001"]


def test_what_is_known_of_a_defect(tmp_path: Path) -> None:
    mask = np.zeros((6, 8), np.uint8)
    mask[2, 3] = 255
    assert cv2.imwrite(str(tmp_path / "mask.png"), mask)
    query = as_query(Sample(Path("a.png"), tmp_path / "mask.png", 1, "bent"))
    assert query.mask is not None
    assert np.array_equal(query.mask, mask > 0)
    assert as_query(Sample(Path("a.png"), None, 1, "bent")).mask is None
    good = as_query(Sample(Path("a.png"), None, 0, "good")).mask
    assert good is not None
    assert not good.any()
