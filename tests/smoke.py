"""All verbs on the tiny data set with a random backbone: does the whole of it work?

Run as a program (``make smoke``): it prints what it did and exits with status 1 when a check fails.
"""

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

_AUROC = 0.9
_TRAIN = ["backbone.name=resnet18", "backbone.weights=random", "training.max_steps=20", "training.batch_size=4"]


def cpr(*words: str, statuses: tuple[int, ...] = (0,)) -> None:
    """Run a verb; anything but one of ``statuses`` ends the smoke test."""
    print("$ cpr", *words, flush=True)
    status = subprocess.run([sys.executable, "-m", "cpr_lightning", *words], check=False).returncode
    if status not in statuses:
        sys.exit(f"smoke: `cpr {words[0]}` left with status {status}")


def main() -> None:
    """Write, train, test, predict."""
    with tempfile.TemporaryDirectory(prefix="cpr-smoke-") as scratch:
        root = Path(scratch)
        cpr("tiny", f"root={root / 'data'}")
        for category in ("washer", "weave"):
            run = root / category
            shared = ["dataset=tiny", f"dataset.root={root / 'data'}", f"index_cache={root / 'cache'}"]
            cpr("train", *shared, f"category={category}", *_TRAIN, f"hydra.run.dir={run}")
            trained = json.loads((run / "metrics.json").read_text())
            if trained["image_auroc"] < _AUROC:
                sys.exit(f"smoke: image AUROC of {category} is {trained['image_auroc']}, less than {_AUROC}")
            cpr("evaluate", f"run={run}")
            again = json.loads((run / "metrics.json").read_text())
            if again["image_auroc"] != trained["image_auroc"]:
                sys.exit(f"smoke: evaluate gives {again['image_auroc']}, training gave {trained['image_auroc']}")
            predicted = root / f"{category}_predicted"
            images = root / "data" / category / "test"
            cpr("predict", f"run={run}", f"images={images}", f"output={predicted}", statuses=(0, 1))
            with (predicted / "predictions.csv").open() as file:
                scores = [row["score"] for row in csv.DictReader(file)]
            if len(scores) != trained["n_test"]:
                sys.exit(f"smoke: predict wrote {len(scores)} scores for {trained['n_test']} images")
    print("smoke: all verbs work")


if __name__ == "__main__":
    main()
