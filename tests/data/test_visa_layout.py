"""VisA's table: rows that make no sense, and files that it names in vain."""

from pathlib import Path

import pytest

from cpr_lightning.data.visa_layout import VisaLayout
from cpr_lightning.errors import CategoryError, DataError
from miniatures import visa


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return visa(tmp_path) / "split_csv" / "1cls.csv"


def layout(table: Path) -> VisaLayout:
    return VisaLayout(str(table.parents[1]))


def change(table: Path, old: str, new: str) -> None:
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))


def test_files_that_the_table_names_in_vain_are_told_with_their_lines(table: Path):
    root = table.parents[1]
    first = root / "candle" / "Data" / "Images" / "Normal" / "0000.JPG"
    mask = root / "candle" / "Data" / "Masks" / "Anomaly" / "002.png"
    first.unlink()
    mask.unlink()
    found = layout(table).look("candle")
    assert found.problems == [
        f"{table}, line 2: the image is missing: {first} does not exist.",
        f"{table}, line 15: the mask of the defective image {root}/candle/Data/Images/Anomaly/002.JPG is missing: "
        f"{mask} does not exist.",
    ]
    assert len(found.samples.references) == 7
    with pytest.raises(DataError, match=r"1cls\.csv, line 2: .*0000\.JPG does not exist"):
        layout(table).samples("candle")
    assert len(layout(table).samples("pcb1").references) == 8, "the other objects can be used"


def test_many_missing_files_are_counted(table: Path):
    for path in (table.parents[1] / "candle" / "Data" / "Images" / "Normal").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="And 8 more such problems"):
        layout(table).samples("candle")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("candle,train,normal", "candle,trian,normal", r"line 2: split=trian label=normal is not understood"),
        ("candle,train,normal", "candle,train,good", r"line 2: split=train label=good is not understood"),
        ("candle,train,normal", "candle,train,anomaly", r"line 2: the defective image .* is in split train"),
        (
            ",candle/Data/Masks/Anomaly/000.png",
            ",",
            r"line 13: the mask of the defective image .*000\.JPG is not named",
        ),
        ("candle/Data/Images/Normal/0000.JPG", "", r"line 2: the image is not named"),
    ],
)
def test_a_row_that_makes_no_sense_is_named(old: str, new: str, said: str, table: Path):
    change(table, old, new)
    with pytest.raises(DataError, match=said):
        layout(table).samples("candle")


def test_a_missing_column_is_named(table: Path):
    change(table, "object,split,label,image,mask", "object,split,label,picture,mask")
    with pytest.raises(DataError, match=r"1cls\.csv has no column image; .*is object,split,label,picture,mask\."):
        layout(table).categories()
    table.write_text("")
    with pytest.raises(DataError, match=r"has no column object, split, label, image, mask; .*is nothing"):
        layout(table).categories()


def test_a_table_that_is_none_is_named(table: Path):
    table.write_bytes(b"\xff\xfe\x00object")
    with pytest.raises(DataError, match=r"1cls\.csv is not a table"):
        layout(table).categories()


def test_a_missing_table_is_named_with_what_is_there(table: Path):
    table.unlink()
    with pytest.raises(
        CategoryError, match=r"1cls\.csv does not exist; .*holds: LICENSE-DATASET, candle, pcb1, split_csv"
    ):
        layout(table).samples("candle")
    with pytest.raises(CategoryError, match=r"nowhere is not a folder"):
        VisaLayout(str(table.parent / "nowhere")).samples("candle")


def test_an_object_in_another_case_is_not_taken(table: Path):
    with pytest.raises(CategoryError, match=r"names no object Candle; did you mean candle\? It names: candle, pcb1\."):
        layout(table).samples("Candle")


def test_an_object_without_good_images_to_learn_from_is_named(table: Path):
    table.write_text(table.read_text().replace("candle,train", "candle,test"))
    with pytest.raises(DataError, match=r"names no good image of candle to learn from"):
        layout(table).samples("candle")


def test_a_table_written_by_a_spreadsheet_is_read(table: Path):
    before = layout(table).samples("candle")
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n"))
    assert layout(table).samples("candle") == before


def test_the_archives_folder_may_lie_between(tmp_path: Path):
    inner = visa(tmp_path / "VisA_20220922")
    assert VisaLayout(str(tmp_path)).samples("candle").references[0].image.is_relative_to(inner)
