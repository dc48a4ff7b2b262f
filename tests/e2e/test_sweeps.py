"""Many runs: the shared index, sweeps, variants and readings."""

from pathlib import Path
from typing import Any

import pytest
from e2e_helpers import Result, Trained, call_cpr, metrics_of, numbers_of, same_model, small
from omegaconf import OmegaConf
from safetensors.torch import load_file

SHORT = ["training.max_steps=2"]


@pytest.fixture(scope="module")
def cache(bench: Path, trained: Trained) -> str:
    assert trained.folder.parent == bench
    return f"index_cache={bench / 'index_cache'}"


def train(data: Path, folder: Path, *more: str, category: str = "washer") -> Result:
    done = call_cpr(*small(data, folder, *more, category=category), cwd=folder.parent)
    assert done.status == 0, done.out + done.err
    return done


def config_of(run: Path) -> Any:
    return OmegaConf.load(run / "config.yaml")


def folders(path: Path) -> set[str]:
    return {each.name for each in path.iterdir() if each.name != ".locks"}


def test_the_index_is_taken_from_the_cache_by_runs_that_share_it(tiny: Path, tmp_path: Path):
    cache = tmp_path / "index_cache"
    first = train(tiny, tmp_path / "a", *SHORT)
    assert "Indexing 12 references" in first.out
    (made,) = folders(cache)
    # What comes after the index does not change it: descriptors, seed of the training, steps, windows.
    second = train(tiny, tmp_path / "b", *SHORT, "branch.dim=16", "bank.codec=flat", "retrieval.windows=[1,1]")
    assert f"taken from {cache / made}" in second.out
    assert "Indexing" not in second.out
    assert folders(cache) == {made}
    assert f"taken from {cache / made}" in (tmp_path / "b" / "train.log").read_text()


def test_other_images_settings_or_backbones_have_an_index_of_their_own(data_copy: Path, tmp_path: Path):
    cache = tmp_path / "index_cache"
    changes = [
        [],
        ["retrieval.blocks=4"],
        ["ablation=no_foreground"],
        ["image_size=64"],
        ["seed=1"],  # random weights come from the seed
    ]
    for number, change in enumerate(changes):
        train(data_copy, tmp_path / f"r{number}", "training.max_steps=0", *change)
        assert len(folders(cache)) == number + 1, change
    images = sorted((data_copy / "washer" / "train" / "good").iterdir())
    images[0].write_bytes(images[1].read_bytes())
    assert "Indexing" in train(data_copy, tmp_path / "other", "training.max_steps=0").out
    assert len(folders(cache)) == len(changes) + 1


def test_a_damaged_index_in_the_cache_is_named(tiny: Path, tmp_path: Path):
    train(tiny, tmp_path / "a", "training.max_steps=0")
    (index,) = (tmp_path / "index_cache").rglob("index.safetensors")
    index.write_bytes(index.read_bytes()[:1000])
    said = call_cpr(*small(tiny, tmp_path / "b"), cwd=tmp_path).sentence()
    assert str(index) in said


def test_a_sweep_makes_a_run_for_each_cell(tiny: Path, bench: Path, trained: Trained, tmp_path: Path, cache: str):
    words = [word for word in small(tiny, bench / "x", *SHORT, cache) if not word.startswith("hydra.run.dir")]
    done = call_cpr(*words, "seed=1,2", "category=washer,weave", "-m", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    runs = sorted(path.parent for path in (tmp_path / "multirun").rglob("metrics.json"))
    cells = {(config_of(run).seed, config_of(run).category) for run in runs}
    assert len(runs) == 4
    assert cells == {(1, "washer"), (1, "weave"), (2, "washer"), (2, "weave")}
    for run in runs:
        metrics = metrics_of(run)
        assert (metrics["seed"], metrics["category"]) == (config_of(run).seed, config_of(run).category)
        assert metrics["steps"] == 2
        assert f"seed{metrics['seed']}" in run.name
        assert metrics["category"] in run.name
        assert (run / "train.log").is_file()
    numbers = [numbers_of(run) for run in runs]
    assert len({(each["pixel_auroc"], each["pixel_ap"]) for each in numbers}) == 4
    # A cell of a sweep is the run that the same settings make alone.
    alone = tmp_path / "alone"
    train(tiny, alone, *SHORT, cache, "seed=2")
    cell = next(run for run in runs if (config_of(run).seed, config_of(run).category) == (2, "washer"))
    assert numbers_of(alone) == numbers_of(cell)
    assert same_model(alone, cell)
    assert trained.folder not in runs


def test_a_sweep_goes_on_past_a_cell_that_fails(tiny: Path, bench: Path, tmp_path: Path, cache: str):
    words = [word for word in small(tiny, bench / "x", *SHORT, cache) if not word.startswith("hydra.run.dir")]
    done = call_cpr(*words, "category=washr,weave", "-m", cwd=tmp_path)
    assert done.status == 1, f"{done.status}: done, but something failed on the way\n{done.err}"
    assert "washr" in done.err
    assert "Traceback" not in done.out + done.err
    runs = [path.parent for path in (tmp_path / "multirun").rglob("metrics.json")]
    assert [config_of(run).category for run in runs] == ["weave"]


def test_runs_go_to_outputs_unless_told_otherwise(tiny: Path, bench: Path, tmp_path: Path, cache: str):
    words = [word for word in small(tiny, bench / "x", *SHORT, cache) if not word.startswith("hydra.run.dir")]
    done = call_cpr(*words, cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    (metrics,) = (tmp_path / "outputs").rglob("metrics.json")
    assert metrics.parent.parent == tmp_path / "outputs" / "tiny" / "washer" / "cpr" / "full"


VARIANTS = {"cpr": ("densenet201", 384), "fast": ("densenet201", 64), "faster": ("efficientnet_b0", 16)}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_names_its_backbone_and_dimension(variant: str, tmp_path: Path):
    done = call_cpr("train", f"variant={variant}", "category=bottle", "--cfg", "job", cwd=tmp_path)
    assert done.status == 0, done.err
    composed = OmegaConf.create(done.out)
    assert (composed.backbone.name, composed.branch.dim) == VARIANTS[variant]
    assert composed.variant == variant
    assert (composed.image_size, composed.retrieval.neighbors, composed.scoring.top_pixels) == (320, 10, 512)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_runs(variant: str, tiny: Path, tmp_path: Path):
    words = [word for word in small(tiny, tmp_path / "run") if not word.startswith("backbone.name")]
    done = call_cpr(*words, f"variant={variant}", "image_size=64", "training.max_steps=1", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    metrics = metrics_of(tmp_path / "run")
    assert (metrics["variant"], metrics["backbone"]) == (variant, VARIANTS[variant][0])
    weight = load_file(tmp_path / "run" / "model.safetensors")["branch.scale1.project.weight"]
    assert weight.shape[0] == VARIANTS[variant][1]


READINGS = {
    "retrieval.divergence": "paper",
    "foreground.method": "paper",
    "training.pair_points": "paper",
    "training.remote_weight": "paper",
    "training.loss": "paper",
    "backbone.statistics": "paper",
}


def test_every_reading_of_the_paper_runs(tiny: Path, trained: Trained, tmp_path: Path):
    run = tmp_path / "run"
    train(tiny, run, *(f"{key}={value}" for key, value in READINGS.items()))
    for key, value in READINGS.items():
        assert OmegaConf.select(config_of(run), key) == value
        assert OmegaConf.select(config_of(trained.folder), key) == "official"
    assert numbers_of(run)["pixel_ap"] != numbers_of(trained.folder)["pixel_ap"]


def test_a_texture_has_no_foreground(tiny: Path, tmp_path: Path, cache: str):
    run = tmp_path / "run"
    train(tiny, run, *SHORT, cache, category="weave")
    assert metrics_of(run)["kind"] == "texture"
    names = load_file(run / "model.safetensors").keys()
    assert not any(each.startswith("foreground.") for each in names)


def test_the_flat_bank_takes_twice_the_room_for_nearly_the_same_scores(
    tiny: Path, trained: Trained, tmp_path: Path, cache: str
):
    run = tmp_path / "run"
    train(tiny, run, "bank.codec=flat", cache)
    assert same_model(run, trained.folder)
    for name in ("scale1.faiss", "scale2.faiss"):
        ratio = (run / "bank" / name).stat().st_size / (trained.folder / "bank" / name).stat().st_size
        assert ratio == pytest.approx(2, abs=0.01)
    for key in ("image_auroc", "pixel_auroc", "pixel_ap", "pro"):
        assert metrics_of(run)[key] == pytest.approx(metrics_of(trained.folder)[key], abs=0.01)


def test_arguments_of_the_trainer_pass_through(tiny: Path, tmp_path: Path, cache: str, trained: Trained):
    run = tmp_path / "limited"
    train(tiny, run, "+trainer.limit_train_batches=1", "+trainer.max_epochs=1", cache)
    assert metrics_of(run)["steps"] == 1
    run = tmp_path / "half"
    train(tiny, run, "+trainer.precision=bf16-mixed", cache)
    assert metrics_of(run)["steps"] == 6
    assert not same_model(run, trained.folder)


def test_no_logger_leaves_no_training_log(tiny: Path, trained: Trained, tmp_path: Path, cache: str):
    run = tmp_path / "run"
    train(tiny, run, "logger=none", cache)
    assert not (run / "training_log").exists()
    assert not (run / "lightning_logs").exists()
    assert same_model(run, trained.folder)
