"""Settings composed from ``conf/`` and overrides, as ``cpr train`` does it, for verbs that train nothing."""

import re
from enum import Enum
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cpr_lightning.checks import check_settings, unknown_key
from cpr_lightning.errors import SettingsError, first_line
from cpr_lightning.settings import Settings


def conf_folder() -> Path:
    """The configuration files: in the package when it is installed, else at the top of the checkout."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "conf"


def compose_settings(overrides: list[str]) -> Settings:
    """Checked settings of ``conf/train.yaml`` with ``overrides`` (Hydra's ``key=value``).

    Raises:
        SettingsError: an override cannot be used, or the settings make no sense together.
    """
    ConfigStore.instance().store(name="schema", node=Settings)
    try:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            # A logger's folder is known in a job of Hydra's alone.
            return checked(compose("train", ["logger=none", *with_text_choices(overrides)]))
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(sentence(error)) from error


def checked(config: DictConfig) -> Settings:
    """A composed configuration as typed settings.

    Raises:
        SettingsError: its ablation does not say what its keys do, or they make no sense.
    """
    _refuse_contradiction(config)
    return check_settings(config)


def _refuse_contradiction(config: DictConfig) -> None:
    """Refuse keys that undo the ablation by whose name the run will go; what has no effect in it is no contradiction,
    so that a sweep can give one key to all ablations.
    """
    path = conf_folder() / "ablation" / f"{config.ablation}.yaml"
    if not path.is_file():  # the user's own, from another folder
        return
    meant = OmegaConf.load(path)
    assert isinstance(meant, DictConfig)
    merged = OmegaConf.merge(config, meant)
    for key in _leaves(meant):
        given, wanted = (OmegaConf.select(each, key) for each in (config, merged))
        if given != wanted:
            raise SettingsError(
                f"ablation={config.ablation} means {key}={_text(wanted)}; {key}={_text(given)} contradicts it. "
                "Leave out one of the two, or take ablation=full and set the keys one by one."
            )


def _leaves(config: DictConfig, prefix: str = "") -> list[str]:
    """Dotted names of all values."""
    keys = []
    for key, value in config.items():
        keys += _leaves(value, f"{prefix}{key}.") if isinstance(value, DictConfig) else [f"{prefix}{key}"]
    return keys


def _text(value: object) -> str:
    """A value as it is typed on the command line."""
    if isinstance(value, Enum):
        return value.name
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value).replace(" ", "")


def with_text_choices(words: list[str]) -> list[str]:
    """The words with ``fast=true`` as ``fast='true'``: the options of a group are text to Hydra, never truth values."""
    choices = {f"fast={value}": f"fast='{value.lower()}'" for value in ("true", "false", "True", "False")}
    return [choices.get(word, word) for word in words]


def quoted(value: str) -> str:
    """A value, such as a path with blanks and signs in it, as a Hydra override takes it."""
    text = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


def sentence(error: Exception) -> str:
    """What Hydra or OmegaConf complained about, without its stack of causes."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    if isinstance(error, OverrideParseException) and not lines[0].startswith("Ambiguous"):
        key, _, value = error.override.partition("=")
        return (
            f"{error.override} is not understood ({lines[0]}). A value with signs such as = ( ) , needs quotes, and "
            f'the shell others around them: "{key}={quoted(value)}".'
        )
    missing = re.search(r"Missing mandatory value: (\S+)", str(error))
    if missing:
        key = missing.group(1)
        return f"{key} is not set; add {key}=… to the command. `cpr train --help` shows all keys."
    wrong = re.search(r"Could not override '([^']+)'", str(error))
    if wrong:
        return unknown_key(wrong.group(1))
    if error.__cause__ is not None:
        # Hydra names the override, its cause what is wrong with it.
        lines.append(first_line(error.__cause__))
    kept = [line for line in lines if not line.startswith(("full_key:", "object_type=", "reference_type="))]
    return " ".join(kept) or type(error).__name__
