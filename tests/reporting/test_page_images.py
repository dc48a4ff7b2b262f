"""Which test images of a run a page shows, and where their pictures are."""

from pathlib import Path

import pytest

from cpr_lightning.errors import RunError
from cpr_lightning.reporting.page_images import TestImage, read_images, worst_and_best

HEAD = "path,label,score,threshold,is_anomalous,neighbor_1,neighbor_2\n"


def image(name: str, label: int | None, score: float) -> TestImage:
    return TestImage(Path(name), label, score, 10.0, score > 10, (), None)


def names(images: list[TestImage]) -> str:
    return " ".join(image.name for image in images)


def test_worst_are_on_the_wrong_side_and_best_alternate():
    images = [image("d1", 1, 30), image("d2", 1, 20), image("missed", 1, 4), image("g1", 0, 1), image("alarm", 0, 12)]
    worst, best = worst_and_best(images, 2)
    assert names(worst) == "missed alarm"
    assert names(best) == "d1 g1"
    worst, best = worst_and_best(images, 9)
    assert names(worst) == "missed alarm g1"  # half of them, so that none is both
    assert names(best) == "d1 d2"


def test_of_unlabeled_images_the_highest_scores_are_shown():
    worst, best = worst_and_best([image("low", None, 1), image("high", None, 3), image("middle", None, 2)], 2)
    assert names(worst) == "high middle"
    assert best == []


def test_lines_are_read_with_their_heat_maps(tmp_path: Path):
    for name in ("hole/000.png", "good/000.png", "cut/001.png"):
        (tmp_path / "heatmaps" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "heatmaps" / name).touch()
    lines = [
        "/data/test/good/000.jpg,0,1.5,10.0,0,/r/a.png,/r/b.png",
        "/data/test/hole/000.jpg,1,20.5,10.0,1,/r/b.png,/r/a.png",
        "/moved/001.jpg,,3.0,10.0,0,,",  # one heat map alone is called so
        "/elsewhere/000.jpg,,3.0,10.0,0,,",  # two are
        "/data/test/hole/000.png,1,3.0,10.0,0,,",  # its heat map has another name, which only the run knew
    ]
    (tmp_path / "predictions.csv").write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    good, hole, *others = read_images(tmp_path)
    assert good == TestImage(
        Path("/data/test/good/000.jpg"), 0, 1.5, 10.0, False, ("/r/a.png", "/r/b.png"),
        tmp_path / "heatmaps" / "good" / "000.png",
    )  # fmt: skip
    assert (hole.label, hole.is_anomalous, hole.heatmap) == (1, True, tmp_path / "heatmaps" / "hole" / "000.png")
    assert [other.heatmap for other in others] == [tmp_path / "heatmaps" / "cut" / "001.png", None, None]
    assert others[0].label is None
    assert others[0].neighbors == ()


@pytest.mark.parametrize("text", ["other,columns\n1,2\n", HEAD + "/a.jpg,1,x,1,0,,\n", HEAD + "/a.jpg,1,nan,1,0,,\n"])
def test_a_damaged_table_is_refused(text: str, tmp_path: Path):
    (tmp_path / "predictions.csv").write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=r"predictions\.csv.*cpr evaluate"):
        read_images(tmp_path)


def test_a_run_without_test_images_has_none(tmp_path: Path):
    assert read_images(tmp_path) == []
