"""``cpr train``: compose the settings with Hydra, train, test, print the metrics."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cpr_lightning.assembly import bank_device
from cpr_lightning.build import build
from cpr_lightning.data.checking import check
from cpr_lightning.data.supervised import split
from cpr_lightning.environment import choose_device, describe_environment
from cpr_lightning.errors import CprError, RunError, SettingsError
from cpr_lightning.files import write_json, write_text
from cpr_lightning.results import evaluate_run
from cpr_lightning.runtime.choosing import check_runtime
from cpr_lightning.settings import Settings
from cpr_lightning.training.fitting import refuse_other_run, train_run
from cpr_lightning.training.loggers import open_loggers
from cpr_lightning.verbs.all_categories import expand
from cpr_lightning.verbs.composing import checked, conf_folder, sentence, with_text_choices
from cpr_lightning.verbs.experiment import finish, refuse_early
from cpr_lightning.verbs.tables import print_metrics

log = logging.getLogger(__name__)


def main(words: list[str]) -> int:
    """Run the verb; sweeps (``-m``) run one job after another in this process.

    Returns 1 if images had to be skipped, or cells of a sweep failed.
    """
    ConfigStore.instance().store(name="schema", node=Settings)
    # Hydra then hands exceptions on instead of printing them and leaving with status 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    refuse_early(words)
    sys.argv = ["cpr train", *with_text_choices(_with_resumed(expand(words)))]
    failures: list[CprError] = []
    skipped: list[int] = []
    finished: dict[Path, list[Path]] = {}  # the runs below the folder of the command

    def job(config: DictConfig) -> float | None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            metrics = _run(config, folder)
        except CprError as error:
            failures.append(error)
            if HydraConfig.get().mode is RunMode.MULTIRUN:
                log.error("%s failed, the others go on: %s", folder, error)
            return None
        skipped.append(metrics["n_skipped"])
        if config.resume is None:
            above = Path(HydraConfig.get().sweep.dir) if HydraConfig.get().mode is RunMode.MULTIRUN else folder
            finished.setdefault(above, []).append(folder)
        return metrics["image_auroc"]

    try:
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="train")(job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(sentence(error)) from error
    if failures and not skipped:
        raise failures[0]
    for error in failures:
        print(f"cpr: a cell failed: {error}", file=sys.stderr)
    incomplete = [finish(runs, folder) for folder, runs in finished.items()]
    return 1 if failures or any(skipped) or any(incomplete) else 0


def _run(config: DictConfig, folder: Path) -> dict[str, Any]:
    """One run, in its folder; returns the content of ``metrics.json``."""
    if config.resume is None:
        refuse_other_run(folder)
        _record(config, folder)
    settings = checked(config)
    device = choose_device(settings.device)
    # What scoring needs at the end is asked for now, not after hours of training.
    check_runtime(settings.runtime, settings.precision, device, settings.onnx_providers)
    bank_device(settings, device)
    write_json(folder / "environment.json", describe_environment())
    with open_loggers(settings, folder) as loggers:
        layout = build({**vars(settings.dataset), "_target_": settings.dataset._target_})
        samples, problems = check(layout.samples(settings.category), settings.dataset.on_error)
        for problem in problems:
            log.warning("Skipped: %s", problem)
        samples = split(samples, settings, folder)
        try:
            run = train_run(settings, samples, folder, device, loggers)
        except KeyboardInterrupt:
            log.warning("Interrupted. Go on with: cpr train resume=%s", folder)
            raise
        metrics = evaluate_run(run, samples, folder, device, skipped=len(problems))
    print_metrics(metrics, folder)
    return metrics


def _record(config: DictConfig, folder: Path) -> None:
    """What Hydra keeps of a job in ``.hydra/``. Hydra itself would write it before the folder can be refused."""
    job: Any = HydraConfig.instance().cfg
    write_text(folder / ".hydra" / "config.yaml", OmegaConf.to_yaml(config))
    write_text(folder / ".hydra" / "hydra.yaml", OmegaConf.to_yaml(OmegaConf.masked_copy(job, "hydra")))
    write_text(folder / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(HydraConfig.get().overrides.task))


def _with_resumed(words: list[str]) -> list[str]:
    """For ``resume=RUN_DIR``: the overrides that the run was started with, before those given now."""
    given = [word.partition("=")[2] for word in words if word.startswith("resume=")]
    if not given:
        return words
    folder = Path(given[-1]).expanduser().absolute()
    recorded = folder / ".hydra" / "overrides.yaml"
    if not recorded.is_file():
        raise RunError(f"resume={folder} is not the folder of a run: {recorded} is missing.")
    if (folder / "metrics.json").is_file():
        raise RunError(f"The run in {folder} is finished; `cpr evaluate run={folder}` tests it again.")
    before = [str(word) for word in OmegaConf.load(recorded) if not str(word).startswith("resume=")]
    now = [word for word in words if not word.startswith("resume=")]
    # Relative paths among the overrides mean the folder in which the run was started.
    started_in = Path(OmegaConf.load(folder / ".hydra" / "hydra.yaml").hydra.runtime.cwd)
    if started_in.is_dir():
        os.chdir(started_in)
    # The record stays as it is: what is given now holds for this time, and may be a mistake.
    # One run, also if it was a cell of an experiment.
    own = ["hydra.mode=RUN", f"hydra.run.dir={_quoted(folder)}", f"resume={_quoted(folder)}"]
    return [*before, *own, *now]


def _quoted(path: Path) -> str:
    """A path as a Hydra override takes it."""
    text = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
