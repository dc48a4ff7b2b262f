"""A run directory that is missing, incomplete or damaged is refused with a sentence that names the file."""

from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_helpers import call_cpr, rows_of


def halve(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def edit(old: str, new: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


def write(text: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_text(text)

    return change


FILES = [
    "config.yaml",
    "model.safetensors",
    "calibration.json",
    "bank/scale1.faiss",
    "bank/scale2.faiss",
    "bank/references.safetensors",
]
DAMAGES = [
    *[(name, Path.unlink, name) for name in FILES],
    *[(name, halve, name) for name in FILES],
    ("bank/references.txt", Path.unlink, "names of 0"),
    ("bank/references.txt", halve, "names of"),
    ("config.yaml", edit("codec:", "kodek:"), "kodek"),
    ("config.yaml", edit("batch_size: 2", "batch_size: two"), "config.yaml"),
    ("config.yaml", edit("codec: fp16", "codec: flat"), "bank/scale1.faiss"),
    ("config.yaml", edit("dim: 384", "dim: 64"), "model.safetensors"),
    ("config.yaml", write(""), "config.yaml"),
    ("config.yaml", write("[1, 2]"), "config.yaml"),
    ("calibration.json", write("[1, 2]"), "calibration.json"),
    ("calibration.json", write('{"threshold": 1.0}'), "calibration.json"),
    ("model.safetensors", write("not safetensors"), "model.safetensors"),
    ("bank/scale1.faiss", write("not an index"), "bank/scale1.faiss"),
]


@pytest.mark.parametrize(
    ("name", "damage", "named"), DAMAGES, ids=[f"{number}-{name}" for number, (name, _, _) in enumerate(DAMAGES)]
)
def test_a_damaged_run_is_refused(
    name: str, damage: Callable[[Path], None], named: str, run_copy: Path, tiny: Path, tmp_path: Path
):
    damage(run_copy / name)
    image = tiny / "washer" / "test" / "good" / "000.png"
    said = call_cpr("predict", f"run={run_copy}", f"images={image}", "output=p", cwd=tmp_path).sentence()
    assert named in said
    assert str(run_copy) in said
    assert not (tmp_path / "p").exists()


def test_predict_works_without_what_it_does_not_need(run_copy: Path, tiny: Path, tmp_path: Path):
    for name in ("metrics.json", "predictions.csv", "neighbors.csv", "report.html", "train.log", "training.json"):
        (run_copy / name).unlink()
    image = tiny / "washer" / "test" / "good" / "000.png"
    done = call_cpr("predict", f"run={run_copy}", f"images={image}", "output=p", cwd=tmp_path)
    assert done.status in (0, 1), done.err
    assert len(rows_of(tmp_path / "p" / "predictions.csv")) == 1


def test_a_run_that_is_not_there(tmp_path: Path, tiny: Path):
    assert "run=outputs/nowhere" in call_cpr("evaluate", "run=outputs/nowhere", cwd=tmp_path).sentence()
    assert "config.yaml" in call_cpr("evaluate", f"run={tiny}", cwd=tmp_path).sentence()


def test_evaluate_says_which_settings_it_does_not_take(run_copy: Path, tmp_path: Path):
    said = call_cpr("evaluate", f"run={run_copy}", "dataset.on_error=later", cwd=tmp_path).sentence()
    assert "later" in said
    assert "skip" in said
    said = call_cpr("evaluate", f"run={run_copy}", "datasset.root=x", cwd=tmp_path).sentence()
    assert "dataset.root" in said
    said = call_cpr("evaluate", f"run={run_copy}", "device=gpu", cwd=tmp_path).sentence()
    assert "device=gpu" in said


def test_evaluate_on_data_without_the_category(run_copy: Path, tmp_path: Path):
    (tmp_path / "other" / "weave").mkdir(parents=True)
    said = call_cpr("evaluate", f"run={run_copy}", "dataset.root=other", cwd=tmp_path).sentence()
    assert "no category washer" in said
    assert "weave" in said
