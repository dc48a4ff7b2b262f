"""``cpr train``: compose the settings with Hydra, train, test, print the metrics."""

import logging
import os
import shlex
import sys
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cpr_lightning.composing import checked, conf_folder, quoted, sentence, with_text_choices
from cpr_lightning.errors import CprError, RunError, SettingsError
from cpr_lightning.job import record_words, run_job
from cpr_lightning.settings import Settings
from cpr_lightning.sweeps.expansion import composes_sweep
from cpr_lightning.training.fitting import refuse_other_run
from cpr_lightning.verbs.all_categories import expand
from cpr_lightning.verbs.experiment import finish
from cpr_lightning.verbs.sweeping import sweep
from cpr_lightning.verbs.tables import print_metrics

log = logging.getLogger(__name__)

_MANY = {"-m", "--multirun"}


def main(words: list[str]) -> int:
    """Run the verb: one run, or a sweep.

    Returns 1 if images had to be skipped, or cells of a sweep failed.
    """
    ConfigStore.instance().store(name="schema", node=Settings)
    words = with_text_choices(_with_resumed(expand(words)))
    flags = {word for word in words if word.startswith("-")}
    if flags <= _MANY:
        overrides = [word for word in words if word not in flags] + ["hydra.mode=MULTIRUN"] * bool(flags)
        first = composes_sweep(overrides)
        if first is not None:
            return sweep(overrides, first)
    elif flags & _MANY:
        raise SettingsError(f"{' '.join(sorted(flags - _MANY))} does not go with a sweep; leave it out.")
    return _single(words)


def _single(words: list[str]) -> int:
    """One run, or what else Hydra's flags ask for: ``--help``, ``--cfg``."""
    # Hydra then hands exceptions on instead of printing them and leaving with status 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = ["cpr train", *words]
    statuses: list[int] = []
    failures: list[CprError] = []

    def job(config: DictConfig) -> None:
        try:
            statuses.append(_run(config, Path(HydraConfig.get().runtime.output_dir)))
        except CprError as error:  # Hydra would print its traceback
            failures.append(error)

    try:
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="train")(job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(sentence(error)) from error
    if failures:
        raise failures[0]
    return max(statuses, default=0)


def _run(config: DictConfig, folder: Path) -> int:
    """One run, in its folder; returns the exit status."""
    if config.resume is None:
        refuse_other_run(folder)
        record_words(folder, list(HydraConfig.get().overrides.task), Path.cwd())
    try:
        metrics = run_job(checked(config), folder)
    except KeyboardInterrupt:
        log.warning("Interrupted. Go on with: cpr train %s", shlex.quote(f"resume={folder}"))
        raise
    print_metrics(metrics, folder)
    incomplete = finish([folder], folder) if config.resume is None else False
    return 1 if incomplete or metrics["n_skipped"] else 0


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
    own = ["hydra.mode=RUN", f"hydra.run.dir={quoted(str(folder))}", f"resume={quoted(str(folder))}"]
    return [*before, *own, *now]
