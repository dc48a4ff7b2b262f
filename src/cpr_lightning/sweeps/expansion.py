"""The cells of a sweep, all composed and checked before the first one starts.

Hydra needs some 70 ms to compose a configuration, most of it for the groups. So each combination of groups is composed
once, and the cells that differ in plain values alone are copies of it: Hydra, too, applies such values last.
"""

import copy
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cpr_lightning.composing import checked, conf_folder, sentence
from cpr_lightning.errors import SettingsError
from cpr_lightning.settings import Settings
from cpr_lightning.sweeps.cell import Cell


@dataclass(frozen=True)
class Swept:
    """A key with the words that set it, one for each of its values."""

    key: str
    words: tuple[str, ...]
    plain: bool  # it sets a value that is there already: no group, no addition, no deletion


def composes_sweep(words: Sequence[str]) -> DictConfig | None:
    """The composition of the first cell, with Hydra's own keys, if ``words`` (overrides alone) compose a sweep.

    Raises:
        SettingsError: they compose nothing.
    """
    with _hydra():
        first = _compose([each.words[0] for each in _swept(words)])
    return first if first.hydra.mode is RunMode.MULTIRUN else None


def expand(words: Sequence[str], first: DictConfig, folder: Path) -> list[Cell]:
    """The cells of a sweep.

    Args:
        words: the overrides of the command.
        first: of ``composes_sweep``.
        folder: of the sweep.

    Raises:
        SettingsError: one of the cells cannot be composed, or makes no sense; it is named.
    """
    params = OmegaConf.to_container(first.hydra.sweeper.params or OmegaConf.create({}))
    assert isinstance(params, dict)
    with _hydra():
        # What is typed goes before what a file says.
        swept = _swept([*(f"{key}={value}" for key, value in params.items()), *words])
        made = list(_configurations(swept))
        folders = _folders(folder, made)
        return [_cell(number, folders[number], *each) for number, each in enumerate(made)]


def _swept(words: Sequence[str]) -> list[Swept]:
    """Each key once, in the order of the words; of several words with one key the last holds."""
    try:
        overrides = OverridesParser.create().parse_overrides(list(words))
    except HydraException as error:
        raise SettingsError(sentence(error)) from error
    found: dict[str, Swept] = {}
    for override in overrides:
        key = override.get_key_element()
        if override.is_sweep_override():
            if not override.is_discrete_sweep():
                raise SettingsError(f"{override.input_line}: a sweep needs values to choose from, as in {key}=1,2,3.")
            chosen = tuple(f"{key}={text}" for text in override.sweep_string_iterator())
        else:
            chosen = (str(override.input_line),)
        if not chosen:
            raise SettingsError(f"{override.input_line} has no value.")
        found[key] = Swept(key, chosen, _is_plain(override))
    return list(found.values())


def _is_plain(override: Override) -> bool:
    key = override.key_or_group
    group = (conf_folder() / key).is_dir() or "/" in key or override.package is not None
    return not (group or override.is_add() or override.is_delete() or override.is_force_add())


def _configurations(swept: Sequence[Swept]) -> Iterator[tuple[tuple[str, ...], DictConfig]]:
    """Words and composition of every cell; the last key changes fastest."""
    keys = [each.key for each in swept]
    late = {each.key for each in swept if len(each.words) > 1 and _may_come_late(each, keys)}
    values = {word: _value(word) for each in swept if each.key in late for word in each.words}
    composed: dict[tuple[str, ...], DictConfig] = {}
    for words in itertools.product(*(each.words for each in swept)):
        early = tuple(word for each, word in zip(swept, words, strict=True) if each.key not in late)
        if early not in composed:
            # With values for the others, so that a mistaken key of theirs is found.
            composed[early] = _compose(words)
        config = copy.deepcopy(composed[early])
        for each, word in zip(swept, words, strict=True):
            if each.key in late:
                try:
                    OmegaConf.update(config, each.key, values[word], merge=True)
                except OmegaConfBaseException as error:
                    raise SettingsError(f"{word} cannot be used: {sentence(error)}") from error
        yield words, config


def _may_come_late(each: Swept, keys: Sequence[str]) -> bool:
    """Whether its values can be set after all others: they are plain, and no other word sets a part or more of it."""
    others = [key.lstrip("+~") for key in keys if key != each.key]
    apart = not any(key.startswith(f"{each.key}.") or each.key.startswith(f"{key}.") for key in others)
    return each.plain and apart and not each.key.startswith("hydra.")


def _value(word: str) -> object:
    return OverridesParser.create().parse_override(word).value()


def _compose(words: Sequence[str]) -> DictConfig:
    try:
        return compose("train", list(words), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(sentence(error)) from error


def _folders(above: Path, made: Sequence[tuple[tuple[str, ...], DictConfig]]) -> list[Path]:
    """Of all cells; where several would have one, the words in which they differ are added to its name."""
    named: list[Path] = []
    sharing: dict[Path, list[tuple[str, ...]]] = {}
    for number, (words, config) in enumerate(made):
        with open_dict(config.hydra):
            config.hydra.job.num = number
        try:
            named.append(above / str(config.hydra.sweep.subdir))
        except OmegaConfBaseException as error:
            raise SettingsError(sentence(error)) from error
        sharing.setdefault(named[-1], []).append(words)
    for number, (words, _) in enumerate(made):
        others = sharing[named[number]]
        differing = [word for place, word in enumerate(words) if len({other[place] for other in others}) > 1]
        suffix = "".join(f"_{re.sub(r'[^A-Za-z0-9_.,=+-]', '', word)}" for word in differing)
        named[number] = named[number].with_name(named[number].name + suffix)
    return named


def _cell(number: int, folder: Path, words: tuple[str, ...], config: DictConfig) -> Cell:
    """Resolve everything, as Hydra does it for a job."""
    try:
        with open_dict(config.hydra):
            config.hydra.runtime.output_dir = str(folder)
        HydraConfig.instance().set_config(config)
        with open_dict(config):
            del config["hydra"]
        return Cell(number, folder, words, checked(config))
    except OmegaConfBaseException as error:
        raise SettingsError(sentence(error)) from error
    except SettingsError as error:
        raise SettingsError(f"{error} (In the cell {' '.join(words)}; no cell has been started.)") from error


@contextmanager
def _hydra() -> Iterator[None]:
    """Hydra ready to compose, and afterwards as it was."""
    ConfigStore.instance().store(name="schema", node=Settings)
    before = HydraConfig.instance().cfg
    try:
        with initialize_config_dir(str(conf_folder()), version_base="1.3", job_name="train"):
            yield
    finally:
        HydraConfig.instance().cfg = before
