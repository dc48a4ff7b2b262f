"""The cells of a sweep are those that Hydra composes, each with a folder of its own."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cpr_lightning.composing import checked, conf_folder
from cpr_lightning.errors import SettingsError
from cpr_lightning.sweeps.cell import Cell
from cpr_lightning.sweeps.expansion import composes_sweep, expand
from cpr_lightning.sweeps.status import fingerprint
from cpr_lightning.sweeps.words import all_words

BASE = ["dataset.root=/data", "hydra.mode=MULTIRUN"]


def cells_of(*words: str) -> list[Cell]:
    first = composes_sweep([*words, *BASE])
    assert first is not None
    return expand(all_words([*words, *BASE], first), Path("/sweep"))


def as_hydra_has_it(cell: Cell) -> Any:
    """What Hydra composes of the cell's words alone."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return checked(compose("train", list(cell.words)))


def test_every_cell_is_what_hydra_composes():
    words = [
        "category=washer,weave",
        "variant=cpr,faster",
        "ablation=full,no_pair_weight,no_local",
        "seed=1,2",
        "training.max_steps=null,7",
        "retrieval.windows=[3,1],[5,1]",
        "scenario=unsupervised,supervised",
        "training.learning_rate=0.5",
    ]
    cells = cells_of(*words)
    assert len(cells) == 2 * 2 * 3 * 2 * 2 * 2 * 2
    assert len({fingerprint(cell.settings) for cell in cells}) == len(cells)
    assert len({cell.folder for cell in cells}) == len(cells)
    assert [cell.number for cell in cells] == list(range(len(cells)))
    for cell in cells[:: len(cells) // 23]:
        assert cell.settings == as_hydra_has_it(cell)
        config = OmegaConf.structured(cell.settings)
        for word in cell.words:
            key, _, value = word.partition("=")
            if key in ("category", "variant", "ablation", "training.max_steps", "seed"):
                found = OmegaConf.select(config, key)
                assert str(found).replace("None", "null") == value


def test_the_last_key_changes_fastest():
    names = [cell.name for cell in cells_of("category=a,b", "seed=1,2")]
    assert names == [f"mvtec_{category}_cpr_full_seed{seed}" for category in "ab" for seed in (1, 2)]


def test_folders_that_would_be_one_are_told_apart():
    names = [cell.name for cell in cells_of("category=a", "branch.dim=16,64", "retrieval.windows=[3,1],[1,1]")]
    assert names == [
        f"mvtec_a_cpr_full_seed66_branch.dim={dim}_retrieval.windows={window}"
        for dim in (16, 64)
        for window in ("3,1", "1,1")
    ]


def test_the_folder_of_a_cell_reaches_what_asks_for_it():
    cells = cells_of("category=a", "branch.dim=16,64", "+logger.other.place=${hydra:runtime.output_dir}")
    assert [cell.settings.logger["other"]["place"] for cell in cells] == [str(cell.folder) for cell in cells]


def test_a_file_sweeps_and_the_command_line_goes_before_it():
    cells = cells_of("experiment=mvtec_all")
    assert len(cells) == 945
    assert len({(c.settings.category, c.settings.variant, c.settings.ablation, c.settings.seed) for c in cells}) == 945
    fewer = cells_of("experiment=mvtec_all", "category=screw", "ablation=full")
    assert {cell.settings.category for cell in fewer} == {"screw"}
    assert len(fewer) == 9


def test_ranges_and_choices():
    assert [cell.settings.seed for cell in cells_of("category=a", "seed=range(3)")] == [0, 1, 2]
    chosen = cells_of("category=a", "branch.dim=choice(8,16)")
    assert [cell.settings.branch.dim for cell in chosen] == [8, 16]


def test_a_part_and_its_whole_are_set_in_their_order():
    """Values that are set late must not undo what another word sets."""
    cells = cells_of("category=a", "supervised.images=11,12", "supervised={images:13}")
    assert [cell.settings.supervised.images for cell in cells] == [13, 13]


def test_one_run_is_no_sweep():
    assert composes_sweep(["dataset.root=/data", "category=a"]) is None
    assert composes_sweep(["dataset.root=/data", "experiment=table1"]) is not None


@pytest.mark.parametrize("word", ["sweep.dry=true", "sweep.resume=true", "search=optuna", "launcher=joblib"])
def test_what_only_a_sweep_can_do_is_not_ignored_in_one_run(word: str):
    one = ["dataset.root=/data", "category=a", word]
    with pytest.raises(SettingsError, match="add -m"):
        composes_sweep(one)
    assert composes_sweep([*one, "hydra.mode=MULTIRUN"]) is not None
    assert composes_sweep([*one, "resume=/runs/a"]) is None, "a cell that is gone on with alone"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["category=a", "trainnig.max_steps=1,2"], ["trainnig.max_steps", "did you mean training.max_steps"]),
        (["category=a", "training.max_steps=1,x"], ["training.max_steps=x", "Integer"]),
        (["category=a", "ablation=full,no_lcoal"], ["no_lcoal", "no_local"]),
        (["category=a", "retrieval.blocks=5,0"], ["retrieval.blocks=0", "no cell has been started"]),
        (["category=a,b", "ablation=full,no_local", "branch.enabled=true"], ["ablation=no_local", "contradicts"]),
        (["seed=1,2"], ["category is not set"]),
        (["category=a", "training.learning_rate=interval(0,1)"], ["training.learning_rate=1,2,3"]),
    ],
)
def test_a_mistake_in_any_cell_is_found_before_the_first(words: list[str], parts: list[str]):
    with pytest.raises(SettingsError) as refused:
        cells_of(*words)
    for part in parts:
        assert part in str(refused.value)
