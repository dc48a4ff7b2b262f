"""One run from checked settings to its results, wherever it is called: by a command, or as a cell of a sweep."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from cpr_lightning.assembly import bank_device
from cpr_lightning.build import build_layout
from cpr_lightning.data.checking import check
from cpr_lightning.data.supervised import split
from cpr_lightning.environment import choose_device, describe_environment
from cpr_lightning.files import write_json, write_text
from cpr_lightning.results import evaluate_run
from cpr_lightning.runtime.choosing import check_runtime
from cpr_lightning.settings import Settings
from cpr_lightning.training.fitting import train_run
from cpr_lightning.training.loggers import open_loggers

log = logging.getLogger(__name__)


def run_job(settings: Settings, folder: Path, command: Sequence[str] | None = None) -> dict[str, Any]:
    """Train, test, write all results.

    Args:
        settings: checked.
        folder: the run directory; where ``settings.resume`` is set, the training goes on from its checkpoint.
        command: for the record; None: that of this process.

    Returns:
        The content of ``metrics.json``.
    """
    device = choose_device(settings.device)
    # What scoring needs at the end is asked for now, not after hours of training.
    check_runtime(settings.runtime, settings.precision, device, settings.onnx_providers)
    bank_device(settings, device)
    write_json(folder / "environment.json", describe_environment(command))
    with open_loggers(settings, folder) as loggers:
        found = build_layout(settings.dataset).samples(settings.category)
        samples, problems = check(found, settings.dataset.on_error)
        for problem in problems:
            log.warning("Skipped: %s", problem)
        samples = split(samples, settings, folder)
        run = train_run(settings, samples, folder, device, loggers)
        return evaluate_run(run, samples, folder, device, skipped=len(problems))


def record_words(folder: Path, words: Sequence[str], started_in: Path) -> None:
    """Write what ``cpr train resume=`` needs to compose the run again, where Hydra keeps such things.

    Args:
        folder: the run directory.
        words: the overrides, as typed.
        started_in: the folder that relative paths among them mean.
    """
    write_text(folder / ".hydra" / "hydra.yaml", OmegaConf.to_yaml({"hydra": {"runtime": {"cwd": str(started_in)}}}))
    write_text(folder / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(list(words)))
