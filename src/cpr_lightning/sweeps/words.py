"""The words of a command, and the values that a sweep goes over or a search chooses from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from cpr_lightning.composing import conf_folder, sentence
from cpr_lightning.errors import SettingsError


@dataclass(frozen=True)
class Between:
    """Numbers that a search may choose: from ``low`` to ``high``, both included.

    Attributes:
        step: from one to the next; None: every number (whole ones where ``low`` is whole).
        log: as many below their geometric mean as above.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False


@dataclass(frozen=True)
class Swept:
    """A key with the words that set it.

    Attributes:
        key: as typed.
        line: as it was typed.
        words: one for each of its values; of an interval, the one with its beginning.
        plain: it sets a value that is there already: no group, no addition, no deletion.
        between: the numbers of an interval or a range, else None.
    """

    key: str
    words: tuple[str, ...]
    line: str
    plain: bool
    between: Between | None = None

    @property
    def endless(self) -> bool:
        """Whether its values cannot be gone through one by one."""
        return self.between is not None and self.between.step is None


def all_words(words: Sequence[str], first: DictConfig) -> list[str]:
    """Those of the sweep's file (``hydra.sweeper.params``), then those that are typed, which go before them."""
    params = OmegaConf.to_container(first.hydra.sweeper.params or OmegaConf.create({}))
    assert isinstance(params, dict)
    return [*(f"{key}={value}" for key, value in params.items()), *words]


def parse(words: Iterable[str]) -> list[Swept]:
    """Each key once, in the order of the words; of several words with one key the last holds.

    Raises:
        SettingsError: a word is not understood, or has no value.
    """
    try:
        overrides = OverridesParser.create().parse_overrides(list(words))
    except HydraException as error:
        raise SettingsError(sentence(error)) from error
    return list({override.get_key_element(): _swept(override) for override in overrides}.values())


def _swept(override: Override) -> Swept:
    key = override.get_key_element()
    value = override.value()
    between = None
    if not override.is_sweep_override():
        words = (str(override.input_line),)
    elif isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        between = Between(value.start, value.end, log="log" in value.tags)
        words = (f"{key}={value.start}",)
    else:
        words = tuple(f"{key}={text}" for text in override.sweep_string_iterator())
        if isinstance(value, RangeSweep) and len(words) > 1:
            assert value.start is not None
            between = Between(value.start, value.start + value.step * (len(words) - 1), step=value.step)
    if not words:
        raise SettingsError(f"{override.input_line} has no value.")
    return Swept(key, words, str(override.input_line), _is_plain(override), between)


def _is_plain(override: Override) -> bool:
    key = override.key_or_group
    group = (conf_folder() / key).is_dir() or "/" in key or override.package is not None
    return not (group or override.is_add() or override.is_delete() or override.is_force_add())
