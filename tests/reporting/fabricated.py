"""Run folders that say what a test wants."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FACTS = {
    "dataset": "mvtec",
    "category": "carpet",
    "variant": "cpr",
    "ablation": "full",
    "scenario": "unsupervised",
    "seed": 66,
    "backbone": "densenet201",
    "steps": 500,
}


def write_run(
    folder: Path, content: Mapping[str, Any], config: str | None = None, written: float | None = None
) -> Path:
    """A finished run: `metrics.json` of a carpet run with `content` in place of its own, and `config` as `config.yaml`.

    `written` is when it finished, in seconds since the epoch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if config is not None:
        (folder / "config.yaml").write_text(config, encoding="utf-8")
    path = folder / "metrics.json"
    path.write_text(json.dumps(FACTS | {**content}), encoding="utf-8")
    if written is not None:
        os.utime(path, (written, written))
    return folder


def write_benchmark(folder: Path, images_per_second: float, **content: Any) -> None:
    """The part of `benchmark.json` that is read."""
    said = {
        "images_per_second": images_per_second,
        "device": "cuda",
        "runtime": "eager",
        "precision": "fp32",
        "batch": 1,
        "threads": 4,
        "environment": {"gpu": "RTX 4090", "processor": "i5-13600KF"},
    }
    (folder / "benchmark.json").write_text(json.dumps({**said, **content}), encoding="utf-8")
