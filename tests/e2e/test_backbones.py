"""Unusual backbones by configuration alone; those that do not fit are refused before any work."""

import re
from pathlib import Path

import pytest
from e2e_helpers import call_cpr, metrics_of, numbers_of, rows_of, small
from safetensors.torch import load_file


@pytest.mark.parametrize(
    ("name", "more", "channels"),
    [
        # Its first layer is at stride 4, and its pixels are normalised in a way of their own.
        ("test_convnext", ["ablation=no_multiscale"], [24]),
        # Windows, position tables, channels last; the image size is not the one it was made for.
        ("swin_tiny_patch4_window7_224", ["foreground.method=paper"], [96, 192]),
    ],
)
def test_an_unusual_backbone_trains_and_scores_again_as_it_did(
    name: str, more: list[str], channels: list[int], tiny: Path, tmp_path: Path
):
    run = tmp_path / "run"
    done = call_cpr(*small(tiny, run, f"backbone.name={name}", "image_size=64", *more), cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    assert metrics_of(run)["backbone"] == name
    model = load_file(run / "model.safetensors")
    taken = [
        value.shape[1] for key, value in model.items() if re.fullmatch(r"branch\.scale\d\.reduce\.conv\.weight", key)
    ]
    assert taken == channels
    scores = [row["score"] for row in rows_of(run / "predictions.csv")]
    assert len(set(scores)) > 5
    again = call_cpr("evaluate", f"run={run}", f"output={tmp_path / 'again'}", cwd=tmp_path)
    assert again.status == 0, again.err
    before, after = numbers_of(run), numbers_of(tmp_path / "again")
    for key in ("image_auroc", "pixel_auroc", "pixel_ap", "pro"):
        assert after[key] == pytest.approx(before[key], rel=1e-5)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["backbone.name=test_convnext", "backbone.layers=[1,2]"], ["strides 8 and 16", "backbone.layers=[0, 1]"]),
        (["backbone.name=test_vit"], ["test_vit", "stride 16", "another network"]),
        (["backbone.name=densenet121", "image_size=100"], ["image_size=100", "densenet121", "multiple of 32"]),
        (["backbone.name=resnet18.a1"], ["resnet18.a1", "a1_in1k"]),
        (["backbone.strides=[8,4]"], ["backbone.strides=[8, 4]", "finest"]),
        (["backbone.layers=[1]"], ["backbone.layers=[1]", "backbone.strides=[4, 8]"]),
    ],
    ids=lambda value: " ".join(value) if "=" in value[0] else "",
)
def test_a_backbone_that_does_not_fit_is_refused(words: list[str], named: list[str], tiny: Path, tmp_path: Path):
    said = call_cpr(*small(tiny, tmp_path / "run", *words), cwd=tmp_path).sentence()
    for each in named:
        assert each in said
    assert not (tmp_path / "index_cache").exists()
    assert not (tmp_path / "run" / "metrics.json").exists()
