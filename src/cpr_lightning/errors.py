"""What went wrong, in a sentence that names the file or key, says what was wrong, and what to do.

The command line prints the sentence of a :class:`CprError` alone and exits with status 2; any other exception is a
defect of this project and is shown with its traceback.
"""

import errno
from collections.abc import Sequence


class CprError(Exception):
    """Something that the user can put right."""


class SettingsError(CprError):
    """A key of the configuration is unknown, or its value cannot be used."""


class DataError(CprError):
    """A folder, an image or a mask is missing, unreadable or inconsistent."""


class CategoryError(DataError):
    """A data set, or a category of it, is not where it should be."""


class WeightsError(CprError):
    """Weights are missing, cannot be fetched, or do not fit the network."""


class RunError(CprError):
    """A run directory is incomplete, damaged, or was made by another version."""


class TrainingError(CprError):
    """Training cannot go on (a loss that is not a number, for example)."""


def first_line(error: BaseException, most: int = 300) -> str:
    """The first line of another library's message, for a sentence of ours; the type's name where there is none."""
    text = str(error).strip()
    return text.splitlines()[0][:most] if text else type(error).__name__


def first_three(sentences: Sequence[str]) -> str:
    """The first three of many problems, and how many more there are."""
    more = f" And {len(sentences) - 3} more such problems." if len(sentences) > 3 else ""
    return "\n".join(sentences[:3]) + more


def system_sentence(error: OSError) -> str:
    """What the operating system refused, with the file and, for the usual causes, what to do."""
    reason = error.strerror or str(error)
    where = f"{error.filename}: " if error.filename else ""
    elsewhere = "(train takes hydra.run.dir= and index_cache=, the others output=)"
    remedy = {
        errno.ENOSPC: f" Free some space, or write elsewhere {elsewhere}.",
        errno.EACCES: f" Choose a folder that you may write to {elsewhere}.",
    }.get(error.errno or 0, "")
    return f"{where}{reason}.{remedy} Files that were written before are whole."
