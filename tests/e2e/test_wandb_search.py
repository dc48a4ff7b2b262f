"""The W&B search: its file is one that W&B takes, and the commands made from it run."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e_helpers import metrics_of, run_cpr, small
from wandb.apis.public.sweeps import _validate_config_and_fill_distribution
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from cpr_lightning.composing import compose_settings
from offline_records import offline_runs

FILE = Path(__file__).parents[2] / "experiments" / "search" / "wandb.yaml"
SEARCHED = {
    "training.learning_rate",
    "branch.dim",
    "retrieval.neighbors",
    "retrieval.windows",
    "scoring.blur_sigma",
}


def config() -> dict[str, Any]:
    return _validate_config_and_fill_distribution(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def words(values: dict[str, Any]) -> list[str]:
    """What W&B's agent would run; as in its ``_command_run``."""
    found = config()
    arguments = create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    made = []
    for word in map(str, create_sweep_command(found["command"])):
        if word == "${program}":
            made.append(found["program"])
        elif word.startswith("${") and word.endswith("}"):
            made += arguments[word[2:-1]]
        else:
            made.append(word)
    assert made[:2] == ["cpr", "train"]
    return made[2:]


def extremes() -> list[dict[str, Any]]:
    """Every value at least once, and both ends of every range."""
    listed = [each.get("values") or [each["min"], each["max"]] for each in config()["parameters"].values()]
    count = max(map(len, listed))
    return [
        dict(zip(config()["parameters"], (values[min(row, len(values) - 1)] for values in listed), strict=True))
        for row in range(count)
    ]


@pytest.fixture
def told(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the README says to set, and what the agent sets itself."""
    for name, value in {
        "CPR_DATASET": "tiny",
        "CPR_ROOT": str(tiny),
        "CPR_CATEGORY": "washer",
        "WANDB_RUN_ID": "a1b2c3d4",
    }.items():
        monkeypatch.setenv(name, value)
    return tiny


def test_wandb_takes_the_file():
    found = config()
    assert found["method"] in ("bayes", "random", "grid")
    assert found["metric"] == {"name": "validation_score", "goal": "maximize"}
    assert found["parameters"].keys() == SEARCHED
    known = {"name", "method", "metric", "run_cap", "parameters", "program", "command"}
    assert found.keys() <= known, "W&B ignores what it does not know"
    for parameter in found["parameters"].values():
        assert parameter.keys() in ({"values"}, {"distribution", "min", "max"}, {"distribution", "min", "max", "q"})
        if "values" not in parameter:
            assert parameter["distribution"] in ("log_uniform_values", "q_uniform")
            assert 0 < parameter["min"] < parameter["max"]


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("values", extremes(), ids=lambda values: str(values["branch.dim"]))
def test_every_value_makes_settings(values: dict[str, Any]):
    composed = [word for word in words(values) if not word.startswith(("hydra.", "logger="))]
    settings = compose_settings(composed)
    assert settings.validation.images > 0
    assert settings.training.learning_rate == values["training.learning_rate"]
    assert settings.branch.dim == values["branch.dim"]
    assert settings.retrieval.neighbors == values["retrieval.neighbors"]
    assert settings.retrieval.windows == values["retrieval.windows"]
    assert settings.scoring.blur_sigma == values["scoring.blur_sigma"]


@pytest.mark.slow
def test_a_run_of_it_tells_wandb_its_validation_score(told: Path, bench: Path, tmp_path: Path):
    values = extremes()[0]
    # A minute network and few images, in place of the file's own; all else is as the agent would run it.
    ours = [word for word in small(told, tmp_path / "x") if not word.startswith(("dataset", "category", "hydra"))]
    given = {word.partition("=")[0] for word in words(values)}
    smaller = [word for word in ours[1:] if word.partition("=")[0] not in given and not word.startswith("index_cache")]
    cache = f"index_cache={bench / 'index_cache'}"
    more = ["training.max_steps=2", "validation.images=3", cache]
    done = run_cpr(
        "train", *words(values), *smaller, *more, cwd=tmp_path,
        HOME=str(tmp_path), WANDB_MODE="offline", WANDB_RUN_ID="a1b2c3d4",
    )  # fmt: skip
    assert done.status == 0, done.out + done.err
    run = tmp_path / "outputs" / "search" / "a1b2c3d4"
    found = metrics_of(run)
    (logged,) = offline_runs(run)
    assert logged.run.run_id == "a1b2c3d4"
    assert logged.summary["validation_score"] == found["validation_score"]
    assert logged.config["retrieval.windows"] == values["retrieval.windows"]
