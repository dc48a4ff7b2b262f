"""Every codec trains, is read again and scores; every runtime scores as the eager network does."""

from pathlib import Path

import pytest
from e2e_helpers import Trained, call_cpr, numbers_of, rows_of, small

SCORES = {"image_auroc", "pixel_auroc", "pixel_ap", "pro"}


def scores_of(folder: Path) -> list[float]:
    return [float(row["score"]) for row in rows_of(folder / "predictions.csv")]


@pytest.mark.parametrize("codec", ["flat", "sq8", "pq"])
def test_a_codec_trains_and_scores_again_as_it_did(codec: str, trained: Trained, tiny: Path, tmp_path: Path):
    run = tmp_path / "run"
    words = small(tiny, run, f"bank.codec={codec}", f"index_cache={trained.folder.parent / 'index_cache'}")
    done = call_cpr(*words, cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    assert "WARNING" not in done.err, "FAISS has its own ideas of how many vectors a codec needs"
    size = {"flat": 4, "sq8": 1, "pq": 1 / 4}[codec]
    stored = (run / "bank" / "scale1.faiss").stat().st_size
    assert stored >= 12 * 24 * 24 * 384 * size
    assert stored < 12 * 24 * 24 * 384 * size + 1e6, "codes, and at most a codebook"
    # The same branch as with fp16: only the bank differs.
    assert scores_of(run) == pytest.approx(scores_of(trained.folder), rel=0.5 if codec == "pq" else 0.02)
    again = call_cpr("evaluate", f"run={run}", f"output={tmp_path / 'again'}", cwd=tmp_path)
    assert again.status == 0, again.err
    assert scores_of(tmp_path / "again") == pytest.approx(scores_of(run), rel=1e-5)


def test_too_few_references_for_a_codec_are_refused_before_training(tiny: Path, tmp_path: Path):
    # Strides 4 and 32 of 64 pixels: four cells of the second scale an image.
    words = small(tiny, tmp_path / "run", "bank.codec=pq", "image_size=64", "backbone.strides=[4,32]")
    done = call_cpr(*words, cwd=tmp_path)
    assert "at least 256 feature cells" in done.sentence()
    assert "Step" not in done.out + done.err
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize(("runtime", "precision", "error"), [("openvino", "fp32", 1e-3), ("eager", "bf16", 0.1)])
def test_a_runtime_scores_as_the_run_did(runtime: str, precision: str, error: float, trained: Trained, tmp_path: Path):
    pytest.importorskip(runtime if runtime != "eager" else "torch", reason=f"{runtime} is not installed")
    words = ["evaluate", f"run={trained.folder}", f"runtime={runtime}", f"precision={precision}", "output=e"]
    done = call_cpr(*words, cwd=tmp_path)
    assert done.status == 0, done.err
    assert scores_of(tmp_path / "e") == pytest.approx(scores_of(trained.folder), rel=error)
    assert numbers_of(tmp_path / "e").keys() == numbers_of(trained.folder).keys()


def test_a_run_trained_for_a_runtime_says_so_and_uses_it(trained: Trained, tiny: Path, tmp_path: Path):
    pytest.importorskip("openvino", reason="openvino is not installed")
    cache = f"index_cache={trained.folder.parent / 'index_cache'}"
    done = call_cpr(*small(tiny, tmp_path / "run", "runtime=openvino", cache), cwd=tmp_path)
    assert done.status == 0, done.err
    assert "computed by openvino fp32" in done.out + done.err
    assert scores_of(tmp_path / "run") == pytest.approx(scores_of(trained.folder), rel=1e-3)


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_a_runtime_that_cannot_be_used_is_a_sentence(verb: str, trained: Trained, tmp_path: Path):
    images = [f"images={trained.data}"] if verb == "predict" else []
    said = call_cpr(verb, f"run={trained.folder}", "runtime=abacus", *images, cwd=tmp_path).sentence()
    assert "runtime=abacus" in said
    assert "openvino" in said
    said = call_cpr(verb, f"run={trained.folder}", "precision=fp16", "device=cpu", *images, cwd=tmp_path).sentence()
    assert "precision=fp16" in said
    assert list(tmp_path.iterdir()) == []
