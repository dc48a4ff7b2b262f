"""Arguments of engines that make no sense, and libraries that are not there: a sentence each."""

from importlib.util import find_spec

from cpr_lightning.errors import SettingsError


def require_positive(*, may_be_null: bool = True, **values: object) -> None:
    """Refuse what is not a whole number from 1 on, nor None where it may be.

    Raises:
        SettingsError: naming the key.
    """
    for key, value in values.items():
        if value is None and may_be_null:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise SettingsError(f"launcher.{key}={value} must be a whole number, 1 or more.")


def require_text(**values: object) -> None:
    """Refuse what is neither None nor a text.

    Raises:
        SettingsError: naming the key.
    """
    for key, value in values.items():
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise SettingsError(f"launcher.{key}={value} must be a text, or null.")


def require_installed(module: str, extra: str) -> None:
    """Refuse to go on without a library.

    Raises:
        SettingsError: with what to install.
    """
    if find_spec(module) is None:
        raise SettingsError(
            f"launcher={extra} needs the package {module}, which is not installed: "
            f'pip install "cpr-lightning[{extra}]", or take launcher=local.'
        )
