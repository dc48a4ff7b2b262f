"""What is one method, and how it is called."""

from dataclasses import replace
from pathlib import Path

import pytest

from cpr_lightning.errors import SettingsError
from cpr_lightning.reporting.compared import CONFIG, check_keys, compared
from cpr_lightning.reporting.grouping import group_records
from cpr_lightning.reporting.records import Record


def record(
    variant: str = "cpr", ablation: str = "full", seed: int = 66, dataset: str = "btad", scenario: str = "unsupervised",
    **settings: object,
) -> Record:  # fmt: skip
    config = {name.replace("__", "."): value for name, value in settings.items()}
    return Record(Path(), dataset, "01", variant, ablation, scenario, seed, {"pro": 0.5}, compared(config, {}), 0.0)


def labels(records: list[Record], *keys: str) -> dict[str, list[str]]:
    return {group.label: [method.label for method in group.methods] for group in group_records(records, keys)}


def test_runs_that_differ_in_seed_are_one_method():
    (group,) = group_records([record(seed=66), record(seed=67)])
    (method,) = group.methods
    assert len(method.records) == 2
    assert method.settings == ()
    assert [row.name for row in group.rows] == ["01", "02", "03", "average"]


def test_data_sets_and_scenarios_are_groups_of_their_own():
    runs = [record(), record(dataset="tiny"), record(scenario="supervised")]
    assert list(labels(runs)) == ["btad, supervised", "btad, unsupervised", "tiny, unsupervised"]


def test_methods_stand_in_the_order_of_the_paper():
    names = ["cpr", "cpr, no_foreground", "cpr, whole_bank", "cpr, table7_1", "fast", "faster", "another"]
    runs = [record(name.split(", ")[0], (name + ", full").split(", ")[1]) for name in reversed(names)]
    assert labels(runs) == {"btad, unsupervised": names}


def test_methods_of_one_name_say_in_what_they_differ():
    runs = [record(training__max_steps=steps, branch__dim=dim) for steps, dim in [(40, 64), (150, 64), (150, 16)]]
    runs.append(record("fast", training__max_steps=40))
    assert labels(runs)["btad, unsupervised"] == [
        "cpr (branch.dim=16, training.max_steps=150)",
        "cpr (branch.dim=64, training.max_steps=150)",
        "cpr (branch.dim=64, training.max_steps=40)",
        "fast",
    ]


def test_settings_can_make_groups_of_their_own():
    runs = [record(training__max_steps=40), record(training__max_steps=150), record("fast", training__max_steps=40)]
    assert labels(runs, "training.max_steps") == {
        "btad, unsupervised, training.max_steps=150": ["cpr"],
        "btad, unsupervised, training.max_steps=40": ["cpr", "fast"],
    }
    assert list(labels(runs, "variant", "seed")) == [
        "btad, unsupervised, variant=cpr, seed=66",
        "btad, unsupervised, variant=fast, seed=66",
    ]


def test_a_run_without_config_is_told_from_those_with():
    bare = Record(Path(), "btad", "01", "cpr", "full", "unsupervised", 66, {}, compared(None, {}), 0.0)
    assert bare.settings == {CONFIG: "missing"}
    assert labels([bare, bare]) == {"btad, unsupervised": ["cpr"]}
    assert labels([bare, record()]) == {"btad, unsupervised": ["cpr", f"cpr (no {CONFIG})"]}
    named = replace(bare, settings=compared(None, {"backbone.name": "resnet18"}))
    assert labels([named, record()]) == {
        "btad, unsupervised": ["cpr (backbone.name=densenet201)", f"cpr (backbone.name=resnet18, no {CONFIG})"]
    }


def test_keys_that_do_not_tell_methods_apart_are_refused():
    check_keys("group", ["training.max_steps", "seed"], ["seed"])
    for key, hint in {"training.max_step": "training.max_steps", "device": "cpr train --help", "": "nothing"}.items():
        with pytest.raises(SettingsError, match=f"^ignore={key}: .*{hint}"):
            check_keys("ignore", [key])
    with pytest.raises(SettingsError, match="seed"):
        check_keys("ignore", ["seed"])
