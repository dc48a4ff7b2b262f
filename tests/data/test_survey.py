"""A survey finds all that is wrong with a category, not only the first thing."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cpr_lightning.data.layouts import Mvtec3dLayout, MvtecLayout
from cpr_lightning.data.survey import COUNTED, survey
from cpr_lightning.errors import CategoryError, SettingsError
from miniatures import SIZE, mask, mvtec, mvtec3d, picture, write


def test_a_clean_category_is_counted(tmp_path: Path):
    found = survey(Mvtec3dLayout(str(mvtec3d(tmp_path))), "bagel")
    assert (found.category, found.kind, found.problems) == ("bagel", "object", [])
    assert [found.counts[name] for name in COUNTED] == [8, 3, 3, 4, 4]
    assert found.sizes == Counter({(SIZE, SIZE): 18})


def test_everything_that_is_wrong_is_told(tmp_path: Path):
    folder = mvtec(tmp_path) / "bottle"
    truth = folder / "ground_truth" / "broken_large"
    (folder / "train" / "good" / "003.png").write_text("no picture")
    write(folder / "test" / "good" / "020.png", picture(20, size=48))
    (truth / "000_mask.png").unlink()
    write(truth / "007_mask.png", mask())
    red = np.zeros((SIZE, SIZE, 3), np.uint8)
    red[10:20, 10:20, 2] = 255
    write(truth / "001_mask.png", red)
    contamination = folder / "ground_truth" / "contamination"
    write(contamination / "000_mask.png", mask(1))
    write(contamination / "001_mask.png", mask()[:48, :32])
    (folder / "test" / "empty").mkdir()
    copied = folder / "test" / "good" / "021.png"
    copied.write_bytes((folder / "train" / "good" / "000.png").read_bytes())
    found = survey(MvtecLayout(str(tmp_path)), "bottle")
    assert [found.counts[name] for name in COUNTED] == [8, 0, 3, 4, 3]
    assert found.sizes == Counter({(SIZE, SIZE): 13, (48, 48): 1})
    expected = [
        ("broken_large/000.png is missing",),
        ("test/empty holds no image",),
        ("007_mask.png belongs to no defective image",),
        ("003.png is not an image",),
        ("broken_large/001_mask.png is in colour",),
        ("contamination/000_mask.png holds the values 0, 1",),
        ("contamination/001_mask.png is 32×48", "64×64"),
        (f"{copied} is the same file", "train/good/000.png"),
    ]
    for words in expected:
        assert len([each for each in found.problems if all(word in each for word in words)]) == 1, words
    assert len(found.problems) == len(expected)


def test_a_category_that_nothing_can_be_said_of_is_a_problem(tmp_path: Path):
    mvtec(tmp_path)
    for path in (tmp_path / "bottle" / "train" / "good").iterdir():
        path.unlink()
    found = survey(MvtecLayout(str(tmp_path)), "bottle")
    assert (found.kind, sum(found.counts.values()), found.sizes) == ("", 0, Counter())
    (problem,) = found.problems
    assert "train/good holds no image" in problem


def test_what_cannot_be_looked_at_is_an_error(tmp_path: Path):
    mvtec(tmp_path, ["gear"])
    with pytest.raises(CategoryError, match="no category bottle"):
        survey(MvtecLayout(str(tmp_path)), "bottle")
    with pytest.raises(SettingsError, match="not a known category"):
        survey(MvtecLayout(str(tmp_path)), "gear")
