"""``key=value`` arguments of the verbs that take only a few."""

from collections.abc import Mapping
from difflib import get_close_matches
from enum import Enum
from typing import TypeVar

from cpr_lightning.errors import SettingsError

Choice = TypeVar("Choice", bound=Enum)


def choose(values: Mapping[str, str], key: str, choices: type[Choice]) -> Choice | None:
    """The option that ``key`` names, or None when it is not given.

    Raises:
        SettingsError: there is no such option.
    """
    if key not in values:
        return None
    try:
        return choices(values[key])
    except ValueError as error:
        names = ", ".join(str(choice.value) for choice in choices)
        raise SettingsError(f"{key}={values[key]} is unknown; choose one of {names}.") from error


def whole_number(key: str, value: str, least: int | None = None) -> int:
    """The number that was given for ``key``.

    Raises:
        SettingsError: it is none, or smaller than ``least``.
    """
    try:
        number = int(value)
    except ValueError as error:
        raise SettingsError(f"{key}={value} is not a whole number.") from error
    if least is not None and number < least:
        raise SettingsError(f"{key}={value} must be {least} or more.")
    return number


def parse(
    verb: str, words: list[str], keys: Mapping[str, str], required: tuple[str, ...] = ()
) -> dict[str, str] | None:
    """Split ``key=value`` words.

    Args:
        verb: for messages.
        words: behind the verb.
        keys: what each key is for; shown by ``--help``.
        required: keys without which the verb cannot run.

    Returns:
        Values by key, or None when help was asked for and has been printed.

    Raises:
        SettingsError: a word is no ``key=value``, a key is unknown, given twice or missing.
    """
    if any(word in ("-h", "--help") for word in words):
        width = max(map(len, keys)) + 2
        usage = " ".join(f"{key}=…" if key in required else f"[{key}=…]" for key in keys)
        print(f"cpr {verb} {usage}\n")
        print("\n".join(f"  {key:<{width}}{text}" for key, text in keys.items()))
        return None
    values: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise SettingsError(f"`{word}` is not understood; `cpr {verb}` takes key=value. See `cpr {verb} --help`.")
        if key not in keys:
            near = get_close_matches(key, keys, n=1)
            hint = f" Did you mean {near[0]}?" if near else f" It takes: {', '.join(keys)}."
            raise SettingsError(f"`cpr {verb}` has no key {key}.{hint}")
        if key in values:
            raise SettingsError(f"{key} is given twice.")
        values[key] = value
    for key in required:
        if not values.get(key):
            raise SettingsError(f"`cpr {verb}` needs {key}=… ({keys[key]}).")
    return values
