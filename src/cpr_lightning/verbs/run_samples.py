"""The data set of a finished run, found again for the verbs that test it or show it."""

import logging
from collections.abc import Mapping
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cpr_lightning.build import build_layout
from cpr_lightning.data.checking import check
from cpr_lightning.data.samples import Samples
from cpr_lightning.data.supervised import leave_out_learned
from cpr_lightning.errors import SettingsError
from cpr_lightning.settings import DatasetSettings, Settings

log = logging.getLogger(__name__)


def run_samples(settings: Settings, folder: Path, values: Mapping[str, str]) -> tuple[Samples, list[str]]:
    """The images of a run's category, without those that it learned its defects from.

    Args:
        settings: of the run.
        folder: the run directory.
        values: of the verb; those of ``dataset.…`` hold in place of the run's own.

    Returns:
        The samples, and why images were left out because they cannot be read.

    Raises:
        SettingsError: a value cannot be used.
        DataError: the data set is not there, or not as its layout says.
        RunError: the run's record of what it learned from is missing or damaged.
    """
    changed = {key.removeprefix("dataset."): value for key, value in values.items() if key.startswith("dataset.")}
    try:
        dataset = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(settings.dataset), changed))
    except OmegaConfBaseException as error:
        raise SettingsError(str(error).splitlines()[0]) from error
    assert isinstance(dataset, DatasetSettings)
    layout = build_layout(dataset)
    samples, problems = check(layout.samples(settings.category), dataset.on_error)
    for problem in problems:
        log.warning("Skipped: %s", problem)
    return leave_out_learned(samples, settings, folder), problems
