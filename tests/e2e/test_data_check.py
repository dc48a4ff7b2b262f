"""`cpr data check`: counts, and all that is wrong; 0 clean, 1 problems, 2 could not run."""

import re
from pathlib import Path

import pytest
from e2e_helpers import call_cpr, run_cpr

from miniatures import WRITERS, btad, mvtec, visa


def test_a_clean_data_set(tmp_path: Path):
    done = run_cpr("data", "check", "dataset=btad", f"dataset.root={btad(tmp_path / 'data')}", cwd=tmp_path)
    assert (done.status, done.err) == (0, "")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.out.splitlines() if line.startswith("│")]
    assert rows == [
        ["01", "object", "8", "0", "3", "2", "2", "64×64"],
        ["02", "texture", "8", "0", "3", "2", "2", "64×64"],
        ["03", "object", "8", "0", "3", "2", "2", "64×64"],
    ]
    assert "0 problems." in done.out
    assert [path.name for path in tmp_path.iterdir()] == ["data"], "nothing is written"


@pytest.mark.parametrize("dataset", WRITERS)
def test_one_category_of_each_data_set(dataset: str, tmp_path: Path):
    root = WRITERS[dataset](tmp_path)
    first = {"mvtec": "bottle", "mvtec3d": "bagel", "btad": "01", "visa": "candle", "mvtec_ad2": "can"}[dataset]
    done = call_cpr("data", "check", f"dataset={dataset}", f"dataset.root={root}", f"category={first}", cwd=tmp_path)
    assert done.status == 0, done.out + done.err


def test_every_problem_is_told(tmp_path: Path):
    root = visa(tmp_path / "data", ["candle", "pcb1"])
    (root / "candle" / "Data" / "Images" / "Normal" / "0000.JPG").unlink()
    (root / "pcb1" / "Data" / "Images" / "Anomaly" / "001.JPG").write_text("no picture")
    done = call_cpr("data", "check", "dataset=visa", f"dataset.root={root}", cwd=tmp_path)
    assert done.status == 1
    assert re.search(r"^candle: .*1cls\.csv, line 2: .*0000\.JPG does not exist", done.out, re.MULTILINE)
    assert re.search(r"^pcb1: .*001\.JPG is not an image", done.out, re.MULTILINE)
    assert "holds no capsules, cashew, " in done.out, "categories that the data set has too"
    assert "3 problems." in done.out


def test_ones_own_folders(tmp_path: Path):
    folder = mvtec(tmp_path / "data", ["gear"]) / "gear"
    own = ["dataset=folder", f"dataset.root={folder}", "dataset.good=train/good", "dataset.defective=test/broken_large"]
    done = call_cpr("data", "check", *own, "dataset.masks=ground_truth/broken_large", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    done = call_cpr("data", "check", *own, "dataset.masks=ground_truth", "category=gear", cwd=tmp_path)
    assert done.status == 1
    assert "000.png is missing" in done.out


@pytest.mark.parametrize("name", ["a b=c (1),2", "o'clock", '"'])
def test_a_path_is_taken_as_it_was_typed(name: str, tmp_path: Path):
    btad(tmp_path / name)
    done = call_cpr("data", "check", "dataset=btad", f"dataset.root={tmp_path / name}", "category=01", cwd=tmp_path)
    assert done.status == 0, done.out + done.err


@pytest.mark.parametrize("root", ["'a=b'", '"a=b"'])
def test_a_path_may_have_the_quotes_that_train_needs(root: str, tmp_path: Path):
    btad(tmp_path / "a=b")
    words = ["dataset=btad", f"dataset.root={root}", "dataset.kind=null", "category=01"]
    done = call_cpr("data", "check", *words, cwd=tmp_path)
    assert done.status == 0, done.out + done.err


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ([], "dataset.root is not set"),
        (["dataset.root=nowhere"], "nowhere is not a folder"),
        (["dataset.root=data", "category=Bottle"], "did you mean bottle?"),
        (["dataset.root=data", "categroy=bottle"], "Did you mean category?"),
        (["dataset.root=empty"], "holds no category of MVTec AD"),
        (["dataset.root=data", "dataset.kind=thing"], "kind"),
        (["dataset.root=data", "dataset.mask_threshold=300"], "must lie in [0, 254]"),
    ],
)
def test_what_cannot_be_checked(more: list[str], named: str, tmp_path: Path):
    mvtec(tmp_path / "data")
    (tmp_path / "empty").mkdir()
    assert named in call_cpr("data", "check", "dataset=mvtec", *more, cwd=tmp_path).sentence()


def test_words_that_the_verb_does_not_take(tmp_path: Path):
    assert "did you mean `cpr data check`?" in call_cpr("data", cwd=tmp_path).sentence()
    assert "did you mean `cpr data check`?" in call_cpr("data", "chekc", cwd=tmp_path).sentence()
    assert "dataset=…" in call_cpr("data", "check", cwd=tmp_path).sentence()
    assert "mvtek" in call_cpr("data", "check", "dataset=mvtek", "dataset.root=x", cwd=tmp_path).sentence()
    done = call_cpr("data", "check", "--help", cwd=tmp_path)
    assert done.status == 0
    assert re.search(r"^  dataset\.root  +\S", done.out, re.MULTILINE)
