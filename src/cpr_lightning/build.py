"""Objects from ``_target_`` configurations: the one place that turns names into code."""

from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from cpr_lightning.data.layout import Layout
from cpr_lightning.errors import SettingsError, first_line
from cpr_lightning.settings import DatasetSettings


def build(config: Mapping[str, Any], **others: Any) -> Any:
    """Call ``config["_target_"]`` with the other keys as arguments.

    Raises:
        SettingsError: the target is unknown, or does not take these arguments.
    """
    try:
        return instantiate(dict(config), **others, _convert_="all")
    except InstantiationException as error:
        # What the target itself raised says more than Hydra's wrapping.
        cause = error.__cause__
        if cause is not None and not isinstance(cause, (TypeError, ImportError, AttributeError)):
            raise cause from error
        # Of wrong arguments the cause names the one; of a target that is not there, Hydra says where it looked.
        reason = first_line(cause if isinstance(cause, TypeError) else error)
        raise SettingsError(f"{config.get('_target_')} cannot be built: {reason}") from error


def build_layout(dataset: DatasetSettings) -> Layout:
    """What reads a data set's folder."""
    return build({**vars(dataset), "_target_": dataset._target_})
