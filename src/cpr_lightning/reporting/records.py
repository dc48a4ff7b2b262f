"""One finished run as a record."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpr_lightning.errors import RunError
from cpr_lightning.files import read_json
from cpr_lightning.reporting.compared import compared
from cpr_lightning.reporting.speeds import Speed

METRICS = ("pixel_ap", "pro", "pixel_auroc", "image_auroc")
_NAMES = ("dataset", "category", "variant", "ablation", "scenario")


@dataclass(frozen=True)
class Record:
    """A finished run.

    Attributes:
        folder: the run directory.
        metrics: those of ``METRICS`` that are defined, fractions.
        settings: dotted key → value, of the settings in which methods differ.
        written: when ``metrics.json`` was, in seconds since the epoch.
        kind: ``object`` or ``texture``; this and what follows is None where it is not recorded.
        steps: trained.
        dim: numbers a descriptor; None also for raw features.
        speed: measured on this run.
    """

    folder: Path
    dataset: str
    category: str
    variant: str
    ablation: str
    scenario: str
    seed: int
    metrics: Mapping[str, float]
    settings: Mapping[str, str]
    written: float
    kind: str | None = None
    backbone: str | None = None
    steps: int | None = None
    dim: int | None = None
    n_reference: int | None = None
    n_test: int | None = None
    speed: Speed | None = None

    def value(self, key: str) -> str:
        """What the run says of a setting."""
        own = {"variant": self.variant, "ablation": self.ablation, "seed": str(self.seed)}
        return own[key] if key in own else self.settings.get(key, "unknown")


def read_record(folder: Path, config: Mapping[str, Any] | None, speed: Speed | None) -> Record:
    """The record of a finished run.

    Args:
        folder: it holds ``metrics.json``.
        config: its settings, with dotted keys.
        speed: measured on this run.

    Raises:
        RunError: ``metrics.json`` is damaged, not what a run writes, or holds no metric.
    """
    path = folder / "metrics.json"
    content = read_json(path)
    if not isinstance(content, dict):
        raise RunError(f"{path} holds no keys and values, so it is not of a run of cpr-lightning.")
    for key in _NAMES:
        if not isinstance(content.get(key), str) or not content[key].strip():
            raise RunError(f"{path} does not say the {key}, so it is not of a run of cpr-lightning.")
    if type(content.get("seed")) is not int:
        raise RunError(f"{path} does not say the seed as a whole number, so it is not of a run of cpr-lightning.")
    metrics = {key: _fraction(path, key, content[key]) for key in METRICS if content.get(key) is not None}
    if not metrics:
        raise RunError(f"{path} holds no metric: the run had no test images.")
    backbone = _text(content.get("backbone"))
    known = {"backbone.name": backbone, "backbone.weights": _text(content.get("backbone_weights"))}
    settings = compared(config, {key: value for key, value in known.items() if value is not None})
    has_branch = config is not None and config.get("branch.enabled", True)
    return Record(
        folder=folder,
        **{key: content[key] for key in _NAMES},
        seed=content["seed"],
        metrics=metrics,
        settings=settings,
        written=path.stat().st_mtime,
        kind=_text(content.get("kind")),
        backbone=backbone,
        steps=_number(content.get("steps")),
        n_reference=_number(content.get("n_reference")),
        n_test=_number(content.get("n_test")),
        dim=_number(config.get("branch.dim")) if config is not None and has_branch else None,
        speed=speed,
    )


def _fraction(path: Path, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise RunError(f"{path} says {key}={value!r}, which is not a fraction between 0 and 1; it is damaged.")
    return float(value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> int | None:
    return value if type(value) is int else None
