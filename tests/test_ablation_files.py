"""What every ablation changes, in every variant, and what it refuses."""

import csv
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cpr_lightning.choices import RemoteWeight, Search
from cpr_lightning.composing import compose_settings, conf_folder
from cpr_lightning.errors import SettingsError

ONE_SCALE = {"backbone.strides": [4], "retrieval.windows": [3]}
WHOLE_BANK = {"retrieval.search": Search.coreset}
RAW = {"branch.enabled": False}
NO_FOREGROUND = {"foreground.enabled": False}
ALIKE = {"training.remote_weight": RemoteWeight.none}

CHANGES: dict[str, dict[str, Any]] = {
    "full": {},
    "no_global": {"retrieval.search": Search.window},
    "no_foreground": NO_FOREGROUND,
    "no_local": RAW,
    "no_multiscale": ONE_SCALE,
    "no_pair_weight": ALIKE,
    "whole_bank": WHOLE_BANK,
    "table7_1": WHOLE_BANK | NO_FOREGROUND | RAW | ONE_SCALE | ALIKE,
    "table7_2": NO_FOREGROUND | RAW | ONE_SCALE | ALIKE,
    "table7_3": RAW | ONE_SCALE | ALIKE,
    "table7_4": NO_FOREGROUND | ONE_SCALE | ALIKE,
    "table7_5": ONE_SCALE | ALIKE,
    "table7_6": ALIKE,
    "table7_7": {},
}
VARIANTS = {path.stem for path in (conf_folder() / "variant").iterdir()}
COLUMNS = {  # of the paper's Table VII: what a missing check mark changes
    "global_retrieval": WHOLE_BANK,
    "foreground": NO_FOREGROUND,
    "trained_local_branch": RAW,
    "multi_scale": ONE_SCALE,
    "pair_weight": ALIKE,
}


@cache
def keys_of(ablation: str, variant: str, *overrides: str) -> dict[str, Any]:
    """All keys of a composed configuration, dotted."""
    words = ["dataset=mvtec", "dataset.root=/data", "category=bottle", f"ablation={ablation}", f"variant={variant}"]
    flat: dict[str, Any] = {}

    def flatten(values: dict[str, Any], prefix: str) -> None:
        for key, value in values.items():
            if isinstance(value, dict):
                flatten(value, f"{prefix}{key}.")
            else:
                flat[prefix + key] = value

    flatten(asdict(compose_settings([*words, *overrides])), "")
    return flat


def test_every_file_is_known_here():
    assert {path.stem for path in (conf_folder() / "ablation").iterdir()} == set(CHANGES)
    assert {"cpr", "fast", "faster"} <= VARIANTS


@pytest.mark.parametrize("ablation", CHANGES)
def test_an_ablation_changes_what_it_names_and_nothing_else(ablation: str):
    for variant in sorted(VARIANTS):
        full, mine = keys_of("full", variant), keys_of(ablation, variant)
        assert full.keys() == mine.keys()
        different = {key: value for key, value in mine.items() if value != full[key]}
        assert different == CHANGES[ablation] | ({} if ablation == "full" else {"ablation": ablation}), variant


def test_the_rows_of_table_7_have_the_check_marks_of_the_paper(shared_data: Path):
    with (shared_data / "reference" / "paper_tables" / "table7_ablation.csv").open(
        encoding="utf-8", newline=""
    ) as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    for number, row in enumerate(rows, start=1):
        missing = [changes for column, changes in COLUMNS.items() if row[column] == "no"]
        assert {key: value for changes in missing for key, value in changes.items()} == CHANGES[f"table7_{number}"]


CONTRADICTIONS = [
    ("no_local", "branch.enabled=true"),
    ("no_foreground", "foreground.enabled=true"),
    ("no_foreground", "foreground.enabled=null"),
    ("no_multiscale", "backbone.strides=[4,8]"),
    ("no_multiscale", "retrieval.windows=[3,1]"),
    ("no_pair_weight", "training.remote_weight=paper"),
    ("no_global", "retrieval.search=targeted"),
    ("whole_bank", "retrieval.search=window"),
    ("table7_6", "training.remote_weight=official"),
]


@pytest.mark.parametrize(("ablation", "override"), CONTRADICTIONS)
def test_a_key_that_undoes_the_ablation_is_refused(ablation: str, override: str):
    with pytest.raises(SettingsError) as refused:
        keys_of(ablation, "cpr", override)
    said = str(refused.value)
    assert said.startswith(f"ablation={ablation} means {override.split('=')[0]}=")
    assert f"; {override} contradicts it." in said


@pytest.mark.parametrize("ablation", CHANGES)
def test_keys_without_an_effect_and_the_ablations_own_values_are_no_contradiction(ablation: str):
    # One sweep gives its keys to all its ablations.
    mine = keys_of(ablation, "fast", "branch.dim=128", "retrieval.coreset=0.5", "retrieval.neighbors=3")
    assert (mine["branch.dim"], mine["retrieval.coreset"], mine["retrieval.neighbors"]) == (128, 0.5, 3)
    assert keys_of("no_local", "cpr", "branch.enabled=false") == keys_of("no_local", "cpr")


def test_the_keys_can_be_set_one_by_one():
    assert keys_of("full", "cpr", "retrieval.search=coreset", "branch.enabled=false")["branch.enabled"] is False


@pytest.mark.parametrize("share", ["0", "-0.1", "1.5", "nan"])
def test_a_share_that_is_none_is_refused(share: str):
    with pytest.raises(SettingsError, match=r"^retrieval\.coreset="):
        keys_of("whole_bank", "cpr", f"retrieval.coreset={share}")
