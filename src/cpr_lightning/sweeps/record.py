"""``sweep.yaml``: the commands that a sweep was made by, so that the same command finds it again."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from cpr_lightning.composing import quoted
from cpr_lightning.errors import SettingsError
from cpr_lightning.files import write_text
from cpr_lightning.sweeps.status import STATUS

RECORD = "sweep.yaml"
# What may differ between two commands for one sweep: how it is run, and what is told of it.
_HOW = ("sweep.", "launcher", "logger", "search.", "hydra.sweep.dir=", "hydra.mode=", "hydra.launcher")


def open_sweep(folder: Path, words: Sequence[str], *, resume: bool) -> None:
    """Claim a folder for a sweep, or for going on with the one in it.

    Raises:
        SettingsError: it holds a sweep, and nobody asked to go on with it.
    """
    command = {"words": list(words), "folder": str(Path.cwd())}
    path = folder / RECORD
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # Of two sweeps that begin at once, one makes the file.
        with path.open("x", encoding="utf-8") as file:
            file.write(OmegaConf.to_yaml({"commands": [command]}))
        return
    except FileExistsError as error:
        # Where no cell was begun, the command was refused, or the cluster refused it: it may be mended and given again.
        if not resume and any(folder.rglob(STATUS)):
            raise SettingsError(
                f"{folder} already holds a sweep. Add sweep.resume=true to run what is missing or failed in it, or "
                "choose another hydra.sweep.dir=."
            ) from error
    commands = _commands(path)
    if command not in commands:
        write_text(path, OmegaConf.to_yaml({"commands": [*commands, command]}))


def find_sweep(among: Path, words: Sequence[str]) -> Path | None:
    """The newest sweep below a folder that the same command made, from the same place; None if there is none."""
    wanted = _essence(words)
    here = str(Path.cwd())
    found = [
        path
        for path in among.glob(f"*/{RECORD}")
        if any(_essence(each["words"]) == wanted and each["folder"] == here for each in _commands(path))
    ]
    return max(found, key=lambda path: (path.stat().st_ctime, path), default=Path()).parent if found else None


def going_on(folder: Path) -> str:
    """What to add to the command of a sweep to go on with it, as a shell takes it."""
    plain = re.fullmatch(r"[\w/.:+-]+", str(folder), re.ASCII)
    word = f"hydra.sweep.dir={folder if plain else quoted(str(folder))}"
    return f"sweep.resume=true {shlex.quote(word)}"


def is_cell(folder: Path) -> bool:
    """Whether a run directory is a cell of a sweep."""
    return (folder.parent / RECORD).is_file()


def _essence(words: Sequence[str]) -> frozenset[str]:
    return frozenset(word for word in words if not word.startswith(_HOW))


def _commands(path: Path) -> list[dict[str, Any]]:
    """Those that are recorded; none where the record is damaged."""
    try:
        held = OmegaConf.to_container(OmegaConf.load(path))
    except (OmegaConfBaseException, YAMLError, OSError):
        return []
    commands = held.get("commands", []) if isinstance(held, dict) else []
    return [each for each in commands if isinstance(each, dict) and {"words", "folder"} <= each.keys()]
