"""Sheets of pictures: where each tile lies, and how large it is."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cpr_lightning.visual.lettering import LINE, MARGIN, PAPER
from cpr_lightning.visual.sheet import Tile, compose_sheet, fitted

SIDE = 40


def plain(height: int, width: int, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.full((height, width, 3), colour, np.uint8)


def find(sheet: NDArray[np.uint8], colour: tuple[int, int, int]) -> tuple[slice, slice]:
    """Rows and columns of the rectangle of one colour."""
    rows, columns = np.nonzero((sheet == colour).all(axis=2))
    found = slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1)
    assert len(rows) == (found[0].stop - found[0].start) * (found[1].stop - found[1].start)
    return found


def test_tiles_stand_in_rows_and_columns_with_their_aspect_ratio() -> None:
    red, green, blue = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    rows = [[Tile(plain(10, 10, red)), Tile(plain(20, 80, green))], [Tile(None), Tile(plain(80, 20, blue))]]
    sheet = compose_sheet("", ["", ""], rows, SIDE)
    assert sheet.dtype == np.uint8
    top, left = find(sheet, red)
    assert (top.start, left.start) == (2 * LINE, MARGIN)
    assert (top.stop - top.start, left.stop - left.start) == (SIDE, SIDE)
    wide_rows, wide_columns = find(sheet, green)
    assert (wide_rows.stop - wide_rows.start, wide_columns.stop - wide_columns.start) == (SIDE // 4, SIDE)
    assert wide_columns.start > left.stop
    assert wide_rows.start - top.start == top.stop - wide_rows.stop  # in the middle of its place
    tall_rows, tall_columns = find(sheet, blue)
    assert (tall_rows.stop - tall_rows.start, tall_columns.stop - tall_columns.start) == (SIDE, SIDE // 4)
    assert tall_rows.start > top.stop
    below = sheet[tall_rows, : left.stop]
    assert (below == PAPER).all(), "the place of a tile without a picture is empty"


@pytest.mark.parametrize("what", ["title", "heading", "label"])
def test_words_are_written_where_they_belong_and_nowhere_else(what: str) -> None:
    def sheet(word: str) -> NDArray[np.uint8]:
        words = {"title": "", "heading": "", "label": ""} | {what: word}
        row = [Tile(plain(8, 8, (0, 0, 0)), words["label"])]
        return compose_sheet(words["title"], [words["heading"]], [row], SIDE)

    changed = (sheet("W") != sheet("")).any(axis=2)
    places = {"title": slice(0, LINE), "heading": slice(LINE, 2 * LINE), "label": slice(2 * LINE + SIDE, None)}
    assert changed[places[what]].any()
    changed[places[what]] = False
    assert not changed.any()
    long = (sheet("W" * 300) != sheet("")).any(axis=2)
    assert not long[:, MARGIN + SIDE :].any(), "a long word stays in its column"


def test_a_sheet_that_does_not_fit_together_is_refused() -> None:
    tile = Tile(plain(4, 4, (9, 9, 9)))
    with pytest.raises(ValueError, match="2 tiles, but there are 1 headings"):
        compose_sheet("", [""], [[tile, tile]], SIDE)
    with pytest.raises(ValueError, match="at least one row"):
        compose_sheet("", [""], [], SIDE)


def test_pictures_grow_and_shrink_to_the_side() -> None:
    assert fitted(plain(1000, 500, (1, 2, 3)), 100).shape == (100, 50, 3)
    assert fitted(plain(10, 20, (1, 2, 3)), 100).shape == (50, 100, 3)
    assert fitted(plain(1, 1000, (1, 2, 3)), 100).shape == (1, 100, 3)
