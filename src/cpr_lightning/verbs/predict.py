"""``cpr predict``: score images with a run."""

import sys
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cpr_lightning.choices import Precision, Runtime
from cpr_lightning.data.images import find_images, read_image
from cpr_lightning.environment import choose_device
from cpr_lightning.errors import DataError, SettingsError
from cpr_lightning.predictions import Prediction, predict, unique, write_predictions
from cpr_lightning.results import report, score_samples, write_heatmaps
from cpr_lightning.runs import load_run
from cpr_lightning.verbs.arguments import choose, parse

_SHOWN = 20

_KEYS = {
    "run": "the run directory",
    "images": "an image, or a folder of images",
    "output": "folder for scores and heat maps (outputs/predict/<time>)",
    "on_error": "raise, or skip images that cannot be read (raise)",
    "device": "auto, cpu, cuda",
    "runtime": "eager, compile, openvino, onnx, auto (as in training)",
    "precision": "fp32, bf16, fp16 (as in training)",
}


def main(words: list[str]) -> int:
    """Run the verb: 1 if a part is anomalous or an image had to be skipped."""
    values = parse("predict", words, _KEYS, required=("run", "images"))
    if values is None:
        return 0
    device = choose_device(values.get("device", "auto"))
    runtime, precision = choose(values, "runtime", Runtime), choose(values, "precision", Precision)
    source = Path(values["images"]).expanduser()
    paths, skipped = _readable(find_images(source), values.get("on_error", "raise"))
    run = load_run(Path(values["run"]).expanduser(), device, runtime, precision)
    output = Path(values.get("output", f"outputs/predict/{datetime.now():%Y-%m-%d_%H-%M-%S}")).expanduser()
    scored = score_samples(run, paths, device, "Scoring")
    predictions = predict(run, paths, scored)
    base = source if source.is_dir() else source.parent
    names = unique([path.relative_to(base).with_suffix("").as_posix() for path in paths])
    write_predictions(output / "predictions.csv", predictions, run.calibration.threshold)
    write_heatmaps(run, predictions, scored.maps, names, [None] * len(paths), output)
    report(run, predictions, names, {}, {"images": str(source)}, output)
    anomalous = sum(item.is_anomalous for item in predictions)
    _print(predictions, names)
    print(f"{anomalous} of {len(paths)} images are anomalous (score above {run.calibration.threshold:.2f}).")
    print(f"Scores     {output / 'predictions.csv'}")
    print(f"Heat maps  {output / 'heatmaps'}")
    print(f"Report     {output / 'report.html'}")
    return 1 if anomalous or skipped else 0


def _readable(paths: list[Path], on_error: str) -> tuple[list[Path], int]:
    """The images that can be read; the others are an error, or skipped and counted."""
    if on_error not in ("raise", "skip"):
        raise SettingsError(f"on_error={on_error} must be raise or skip.")
    kept = []
    for path in paths:
        try:
            read_image(path)
        except DataError as error:
            if on_error == "raise":
                # The sentence names the key of the other verbs.
                raise DataError(str(error).replace("dataset.on_error=", "on_error=")) from error
            print(f"Skipped: {error}", file=sys.stderr)
        else:
            kept.append(path)
    if not kept:
        raise DataError("None of the images can be read.")
    return kept, len(paths) - len(kept)


def _print(predictions: list[Prediction], names: list[str]) -> None:
    """The images with the highest scores; the file has all."""
    targeted = bool(predictions[0].neighbors)  # an ablation may target no references
    table = Table("image", "score", "verdict", *(["nearest reference"] if targeted else []))
    ranked = sorted(zip(names, predictions, strict=True), key=lambda pair: -pair[1].score)
    for name, item in ranked[:_SHOWN]:
        verdict = "[red]anomalous" if item.is_anomalous else "good"
        table.add_row(name, f"{item.score:.2f}", verdict, *(Path(path).name for path in item.neighbors[:1]))
    Console().print(table)
    if len(ranked) > _SHOWN:
        print(f"… and {len(ranked) - _SHOWN} more")
