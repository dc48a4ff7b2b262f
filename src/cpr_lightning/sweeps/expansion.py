"""The cells of a sweep, all composed and checked before the first one starts.

Hydra needs some 70 ms to compose a configuration, most of it for the groups. So each combination of groups is composed
once, and the cells that differ in plain values alone are copies of it: Hydra, too, applies such values last.
"""

import copy
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cpr_lightning.composing import checked, conf_folder, sentence
from cpr_lightning.errors import SettingsError
from cpr_lightning.settings import Settings
from cpr_lightning.sweeps.cell import Cell
from cpr_lightning.sweeps.words import Swept, parse

_IN_THIS_PROCESS = "cpr_lightning.sweeps.engines.local.Local"


def composes_sweep(words: Sequence[str]) -> DictConfig | None:
    """The composition of the first cell, with Hydra's own keys, if ``words`` (overrides alone) compose a sweep.

    Raises:
        SettingsError: they compose nothing, or one run with what only a sweep can do.
    """
    with _hydra():
        first = _compose([each.words[0] for each in parse(words)])
    if first.hydra.mode is RunMode.MULTIRUN:
        return first
    if first.resume is None:  # the words of a cell that is gone on with alone are its sweep's
        _refuse_keys_of_sweeps(first)
    return None


def expand(words: Sequence[str], folder: Path, prefix: str = "") -> list[Cell]:
    """The cells of a sweep.

    Args:
        words: the overrides of the command and of the sweep's file (``words.all_words``).
        folder: of the sweep.
        prefix: of the cells' folders.

    Raises:
        SettingsError: one of the cells cannot be composed, or makes no sense; it is named.
    """
    swept = parse(words)
    for each in swept:
        if each.endless:
            raise SettingsError(
                f"{each.key}=interval(…): a sweep needs values to choose from, as in {each.key}=1,2,3; a search "
                "(search=optuna) takes intervals."
            )
    with _hydra():
        made = list(_configurations(swept))
        folders = _folders(folder, prefix, made)
        return [_cell(number, folders[number], *each) for number, each in enumerate(made)]


def _refuse_keys_of_sweeps(config: DictConfig) -> None:
    """One run would ignore them: ``sweep.dry=true``, given without ``-m``, would train."""
    asked = {
        "sweep.dry=true": config.sweep.dry,
        "sweep.resume=true": config.sweep.resume,
        "search=": config.search,
        "launcher=": config.launcher.get("_target_") != _IN_THIS_PROCESS,
    }
    for key, is_asked in asked.items():
        if is_asked:
            raise SettingsError(f"{key} is of use to a sweep alone, and this is one run: add -m, or leave it out.")


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


def _folders(above: Path, prefix: str, made: Sequence[tuple[tuple[str, ...], DictConfig]]) -> list[Path]:
    """Of all cells; where several would have one, the words in which they differ are added to its name."""
    named: list[Path] = []
    sharing: dict[Path, list[tuple[str, ...]]] = {}
    for number, (words, config) in enumerate(made):
        with open_dict(config.hydra):
            config.hydra.job.num = number
        try:
            named.append(above / f"{prefix}{config.hydra.sweep.subdir}")
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
