"""Nested values under dotted keys, as they are typed on the command line: what W&B can filter and group by."""

from collections.abc import Mapping
from enum import Enum
from typing import Any


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"training": {"power": 3}}`` → ``{"training.power": 3}``; lists stay lists, an enum is its value.

    A mapping that is empty stays as it is, so that no key gets lost.
    """
    found: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{name}.")
        else:
            found[name] = plain(value)
    return found


def plain(value: Any) -> Any:
    """A value without enums."""
    if isinstance(value, Enum):
        return value.value
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value
