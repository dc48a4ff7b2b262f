"""``cpr evaluate``: test a run again."""

import logging
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cpr_lightning.build import build
from cpr_lightning.data.checking import check
from cpr_lightning.environment import choose_device
from cpr_lightning.errors import SettingsError
from cpr_lightning.results import evaluate_run
from cpr_lightning.runs import load_run
from cpr_lightning.settings import DatasetSettings, Precision, Runtime
from cpr_lightning.verbs.arguments import choose, parse
from cpr_lightning.verbs.tables import print_metrics

log = logging.getLogger(__name__)

_KEYS = {
    "run": "the run directory",
    "dataset.root": "where the data set lies now (as in training)",
    "dataset.good": "dataset=folder: good images to learn from (as in training; none is learned from now)",
    "dataset.test_good": "dataset=folder: good images to test with",
    "dataset.defective": "dataset=folder: images with defects",
    "dataset.masks": "dataset=folder: their masks",
    "dataset.on_error": "raise, or skip images that cannot be read",
    "output": "folder for the results (the run directory: its results are replaced)",
    "device": "auto, cpu, cuda",
    "runtime": "eager, compile, openvino, onnx, auto (as in training)",
    "precision": "fp32, bf16, fp16 (as in training)",
}


def main(words: list[str]) -> int:
    """Run the verb: 1 if images had to be skipped."""
    values = parse("evaluate", words, _KEYS, required=("run",))
    if values is None:
        return 0
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    device = choose_device(values.get("device", "auto"))
    runtime, precision = choose(values, "runtime", Runtime), choose(values, "precision", Precision)
    run = load_run(Path(values["run"]).expanduser(), device, runtime, precision)
    changed = {key.removeprefix("dataset."): value for key, value in values.items() if key.startswith("dataset.")}
    try:
        dataset = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(run.settings.dataset), changed))
    except OmegaConfBaseException as error:
        raise SettingsError(str(error).splitlines()[0]) from error
    assert isinstance(dataset, DatasetSettings)
    layout = build({**vars(dataset), "_target_": dataset._target_})
    samples, problems = check(layout.samples(run.settings.category), dataset.on_error)
    for problem in problems:
        log.warning("Skipped: %s", problem)
    output = Path(values.get("output", run.folder)).expanduser()
    metrics = evaluate_run(run, samples, output, device, skipped=len(problems))
    print_metrics(metrics, output)
    return 1 if problems else 0
