"""``category=all`` in a sweep: the categories of the data set, written out before Hydra sees the command."""

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from cpr_lightning.build import build_layout
from cpr_lightning.composing import compose_settings
from cpr_lightning.errors import SettingsError

ALL = "all"
_CHOOSERS = ("dataset", "experiment", "fast")  # groups that choose a data set
_SWEEPS = ("experiment=", "hydra.mode=MULTIRUN")  # a sweep without -m


def expand(words: list[str]) -> list[str]:
    """The words of ``cpr train`` with ``category=all`` replaced by ``category=bottle,cable,…``.

    Raises:
        SettingsError: ``all`` is asked for without a sweep, beside other categories, or of several data sets at once.
        CategoryError: the data set has no category where it should lie.
    """
    overrides = _parsed(words)
    # Of several the last holds, as everywhere.
    asked = next((override for override in reversed(overrides) if override.key_or_group == "category"), None)
    if asked is None or ALL not in _values(asked) or any(word in ("-h", "--help", "--hydra-help") for word in words):
        return words
    if _values(asked) != [ALL]:
        raise SettingsError(f"{asked.input_line}: {ALL} stands for every category, so it stands alone.")
    about = [override for override in overrides if override.key_or_group.partition(".")[0] in _CHOOSERS]
    for override in about:
        if override.is_sweep_override():
            raise SettingsError(
                f"category={ALL} means other categories for each data set, so it does not go with "
                f"{override.input_line}. Run one sweep per data set."
            )
    settings = compose_settings([*(str(override.input_line) for override in about), f"category={ALL}"])
    layout = build_layout(settings.dataset)
    names = layout.categories()
    if not any(word in ("-m", "--multirun") or word.startswith(_SWEEPS) for word in words):
        raise SettingsError(f"category={ALL} is a sweep: add -m, or name one category ({', '.join(names)}).")
    missing = [name for name in layout.known if name not in names]
    if missing:
        print(f"cpr: {settings.dataset.root} holds no {', '.join(missing)}: the sweep goes without.")
    return [f"category={','.join(names)}" if word == asked.input_line else word for word in words]


def _parsed(words: list[str]) -> list[Override]:
    """The words that Hydra would take for overrides; none if it would refuse one, for then it shall say so."""
    try:
        return OverridesParser.create().parse_overrides([word for word in words if "=" in word and word[0] != "-"])
    except HydraException:
        return []


def _values(override: Override) -> list[str]:
    if override.is_choice_sweep():
        return [str(value) for value in override.sweep_iterator()]
    return [str(override.value())]
