"""Settings that cannot be used are refused before any work, with a sentence that names the key."""

from pathlib import Path

import pytest
from e2e_helpers import call_cpr, run_cpr, small
from safetensors.torch import save_file
from torch import nn, ones


def refused(data: Path, cwd: Path, *more: str) -> str:
    return call_cpr(*small(data, cwd / "run", *more), cwd=cwd).sentence()


def test_a_process_that_is_given_an_unknown_key(tiny: Path, tmp_path: Path):
    done = run_cpr(*small(tiny, tmp_path / "run", "training.learningrate=1"), cwd=tmp_path)
    assert "training.learningrate" in done.sentence()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("word", ["training.learningrate=1", "+training.learningrate=1", "+learning_rate=1"])
def test_an_unknown_key_is_refused_also_behind_a_plus(word: str, tiny: Path, tmp_path: Path):
    said = refused(tiny, tmp_path, word, "training.max_steps=0")
    assert word.lstrip("+").partition("=")[0] in said


@pytest.mark.parametrize(
    ("word", "offered"),
    [
        ("variant=fastt", ["cpr", "fast", "faster"]),
        ("ablation=none", ["full", "no_local", "no_foreground", "no_multiscale", "no_pair_weight"]),
        ("dataset=mvtek", ["mvtec", "folder", "tiny"]),
        ("logger=tensorboard", ["csv", "none", "wandb"]),
        ("scenario=few", ["unsupervised"]),
    ],
)
def test_an_unknown_option_lists_those_there_are(word: str, offered: list[str], tiny: Path, tmp_path: Path):
    said = refused(tiny, tmp_path, word)
    assert word.replace("=", "/") in said
    for option in offered:
        assert option in said


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("training.batch_size=abc", "Integer"),
        ("image_size=wide", "Integer"),
        ("training.learning_rate=fast", "Float"),
        ("training.loss=papr", "paper"),
        ("bank.codec=zip", "fp16"),
        ("runtime=abacus", "openvino"),
        ("precision=int1", "bf16"),
        ("dataset.kind=thing", "texture"),
        ("retrieval.windows=3", "list"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_the_reason(word: str, reason: str, tiny: Path, tmp_path: Path):
    said = refused(tiny, tmp_path, word)
    key, _, value = word.partition("=")
    assert key in said
    assert value in said
    assert reason.lower() in said.lower()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["retrieval.windows=[3]"], ["retrieval.windows", "backbone.strides"]),
        (["retrieval.windows=[2,1]"], ["retrieval.windows"]),
        (["retrieval.neighbors=0"], ["retrieval.neighbors"]),
        (["retrieval.ignored_blocks=25"], ["retrieval.ignored_blocks"]),
        (["training.batch_size=0"], ["training.batch_size"]),
        (["training.learning_rate=-1"], ["training.learning_rate"]),
        (["training.defect_probability=2"], ["training.defect_probability"]),
        (["seed=-1"], ["seed"]),
        (["image_size=16"], ["image_size"]),
        (["category=' '"], ["category"]),
        (["backbone.layers=[1,9]"], ["backbone.layers", "resnet18"]),
        (["backbone.name=resnet81"], ["backbone.name=resnet81", "resne"]),
        (["device=gpu"], ["device=gpu", "cuda"]),
        (["device=mps"], ["device=mps"]),
        (["bank.device=cuda", "device=cpu"], ["bank.device=cuda"]),
        (["bank.device=shelf"], ["bank.device=shelf"]),
        (["bank.codec=pq", "branch.dim=6"], ["bank.codec=pq", "branch.dim=6"]),
        (["precision=fp16", "device=cpu"], ["precision=fp16", "CUDA"]),
        (["runtime=onnx", "precision=bf16", "device=cpu"], ["runtime=onnx", "precision=fp32"]),
        (["runtime=onnx", "onnx_providers=[AbacusProvider]", "device=cpu"], ["AbacusProvider"]),
        (["retrieval.codebook_vectors=5"], ["retrieval.c"]),
        (["retrieval.clusters=100000"], ["retrieval.clusters"]),
        (["+trainer.nonsense=1"], ["nonsense"]),
        (["+trainer.precision=7"], ["precision"]),
        (["category"], ["category"]),
        (["logger.csv._target_=no.such.Logger"], ["no.such.Logger"]),
        (["dataset._target_=no.such.Layout"], ["no.such.Layout"]),
    ],
    ids=lambda value: value[0] if "=" in value[0] else "",
)
def test_values_that_make_no_sense(words: list[str], named: list[str], tiny: Path, tmp_path: Path):
    said = refused(tiny, tmp_path, *words)
    for each in named:
        assert each in said
    assert not (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.parametrize("path", ["a=b", "parts (1)"])
def test_a_path_that_hydra_cannot_read_is_named_with_the_quotes_it_needs(path: str, tiny: Path, tmp_path: Path):
    said = refused(tiny, tmp_path, f"dataset.root={path}")
    assert said.startswith(f"cpr: dataset.root={path} is not understood")
    assert f"\"dataset.root='{path}'\"" in said


def test_two_values_without_m_are_refused(tiny: Path, tmp_path: Path):
    said = refused(tiny, tmp_path, "seed=1,2")
    assert "seed" in said
    assert "-m" in said or "--multirun" in said


def test_weights_that_are_missing_or_of_another_kind(tiny: Path, tmp_path: Path):
    said = refused(tiny, tmp_path, "backbone.weights=nowhere.safetensors")
    assert "backbone.weights=" in said
    assert "nowhere.safetensors does not exist" in said
    (tmp_path / "old.pth").write_bytes(b"\x80\x04 a pickle")
    said = refused(tiny, tmp_path, "backbone.weights=old.pth")
    assert "old.pth" in said
    assert "safetensors" in said


def test_weights_of_another_network(tiny: Path, tmp_path: Path):
    save_file({"conv1.weight": ones(64, 3, 7, 7)}, tmp_path / "part.safetensors")
    said = refused(tiny, tmp_path, "backbone.weights=part.safetensors")
    assert "part.safetensors" in said
    assert "backbone.name=resnet18" in said
    assert "bn1.weight" in said
    save_file(dict(nn.Linear(2, 2).state_dict()), tmp_path / "other.safetensors")
    assert "other.safetensors" in refused(tiny, tmp_path, "backbone.weights=other.safetensors")


def says_how_to_get_the_weights(said: str) -> None:
    assert "resnet18" in said
    assert "backbone.weights=PATH/resnet18.safetensors" in said
    assert "save_file" in said


@pytest.mark.slow
def test_offline_it_says_how_to_get_the_weights(tiny: Path, tmp_path: Path):
    # A home of its own, so that no weights are found in this user's cache.
    words = small(tiny, tmp_path / "run", "backbone.weights=imagenet")
    done = run_cpr(*words, cwd=tmp_path, HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    says_how_to_get_the_weights(done.sentence())


def test_without_the_model_hub_it_says_how_to_get_the_weights(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Nobody listens at this address; the pauses between the hub's attempts are left out.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", lambda _: None)
    said = refused(tiny, tmp_path, "backbone.weights=imagenet")
    says_how_to_get_the_weights(said)
