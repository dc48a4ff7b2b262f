"""What went wrong, in a sentence that names the file or key, says what was wrong, and what to do.

The command line prints the sentence of a :class:`CprError` alone and exits with status 2; any other exception is a
defect of this project and is shown with its traceback.
"""


class CprError(Exception):
    """Something that the user can put right."""


class SettingsError(CprError):
    """A key of the configuration is unknown, or its value cannot be used."""


class DataError(CprError):
    """A folder, an image or a mask is missing, unreadable or inconsistent."""


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
