"""Settings composed from ``conf/`` and overrides, as ``cpr train`` does it, for verbs that train nothing."""

import re
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from cpr_lightning.checks import check_settings, unknown_key
from cpr_lightning.errors import SettingsError, first_line
from cpr_lightning.settings import Settings


def conf_folder() -> Path:
    """The configuration files: in the package when it is installed, else at the top of the checkout."""
    inside = Path(__file__).parents[1] / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "conf"


def compose_settings(overrides: list[str]) -> Settings:
    """Checked settings of ``conf/train.yaml`` with ``overrides`` (Hydra's ``key=value``).

    Raises:
        SettingsError: an override cannot be used, or the settings make no sense together.
    """
    ConfigStore.instance().store(name="schema", node=Settings)
    try:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            # A logger's folder is known in a job of Hydra's alone.
            return check_settings(compose("train", ["logger=none", *overrides]))
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(sentence(error)) from error


def sentence(error: Exception) -> str:
    """What Hydra or OmegaConf complained about, without its stack of causes."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
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
