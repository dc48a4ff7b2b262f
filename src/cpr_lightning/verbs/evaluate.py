"""``cpr evaluate``: test a run again."""

import logging
from pathlib import Path

from cpr_lightning.choices import Precision, Runtime
from cpr_lightning.environment import choose_device
from cpr_lightning.results import evaluate_run
from cpr_lightning.runs import load_run
from cpr_lightning.verbs.arguments import choose, parse
from cpr_lightning.verbs.run_samples import run_samples
from cpr_lightning.verbs.tables import print_metrics

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
    samples, problems = run_samples(run.settings, run.folder, values)
    output = Path(values.get("output", run.folder)).expanduser()
    metrics = evaluate_run(run, samples, output, device, skipped=len(problems))
    print_metrics(metrics, output)
    return 1 if problems else 0
