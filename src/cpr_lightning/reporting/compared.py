"""The settings in which one method differs from another, as ``config.yaml`` of a run has them."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path, PurePath
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from cpr_lightning.errors import RunError, SettingsError, first_line
from cpr_lightning.settings import Settings

CONFIG = "config.yaml"  # among the settings of a run: whether it has one
# Keys that change neither metrics nor method, or that are columns of their own.
_NOT_COMPARED = {
    *("category", "variant", "ablation", "scenario", "seed", "device", "index_cache", "resume", "onnx_providers"),
    *("bank.device", "training.workers", "training.checkpoint_every"),
}
_GROUPS_NOT_COMPARED = (
    *("dataset.", "calibration.", "validation.", "trainer", "logger", "experiment.", "launcher", "search", "sweep."),
)
_PATHS = ("backbone.weights", "training.anomaly_sources")  # the same file lies elsewhere on another machine


def read_config(folder: Path) -> dict[str, Any] | None:
    """``config.yaml`` of a run, as it stands there, with dotted keys; None where there is none.

    Not as typed settings: metrics of a run that another version made, with other keys, are worth as much.

    Raises:
        RunError: it is damaged.
    """
    path = folder / CONFIG
    if not path.is_file():
        return None
    try:
        content = OmegaConf.load(path)
    except (OmegaConfBaseException, YAMLError, OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({first_line(error)}); it is damaged.") from error
    if not OmegaConf.is_dict(content):
        raise RunError(f"{path} holds no keys and values; it is damaged.")
    return _flat(OmegaConf.to_container(content))


def compared(config: Mapping[str, Any] | None, known: Mapping[str, str]) -> dict[str, str]:
    """The settings to tell methods apart by.

    Args:
        config: of ``read_config``. Keys that came after the run was made have their defaults.
        known: what is known of a run without ``config.yaml``.
    """
    if config is None:
        return _compared(known) | {CONFIG: "missing"}
    return _compared({**_defaults(), **config}) | {CONFIG: "there"}


def check_keys(option: str, keys: Collection[str], more: Collection[str] = ()) -> None:
    """Refuse keys that methods cannot be told apart by; ``more`` are allowed besides.

    Raises:
        SettingsError: names the first of them, and one like it.
    """
    known = {*_compared(_defaults()), *more}
    for key in keys:
        if key not in known:
            near = get_close_matches(key, sorted(known), n=1)
            hint = f"Did you mean {near[0]}?" if near else "`cpr train --help` shows all settings."
            raise SettingsError(f"{option}={key}: runs are not told apart by {key or 'nothing'}. {hint}")


@cache
def _defaults() -> dict[str, Any]:
    return _flat(OmegaConf.to_container(OmegaConf.structured(Settings), enum_to_str=True))


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _compared(values: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: PurePath(str(value)).name if key in _PATHS else str(value)
        for key, value in values.items()
        if key not in _NOT_COMPARED and not key.startswith(_GROUPS_NOT_COMPARED)
    }
