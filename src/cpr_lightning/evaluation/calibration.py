"""A threshold and a colour scale from good images alone: the test set decides nothing."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cpr_lightning.data.datamodule import ReferenceImages
from cpr_lightning.errors import RunError
from cpr_lightning.evaluation.inference import score_images
from cpr_lightning.files import read_json, write_json
from cpr_lightning.model.cascade import CascadePatchRetrieval
from cpr_lightning.settings import CalibrationSettings
from cpr_lightning.visual.overlay import ColourScale


@dataclass(frozen=True)
class Calibration:
    """What good images look like to the cascade.

    Attributes:
        threshold: an image with a larger score counts as anomalous.
        low: score of a pixel that is shown without colour.
        high: score of a pixel that is shown in full colour.
        images: how many good images this comes from.
        mean: of their scores.
        deviation: standard deviation of their scores.
        source: ``training``, each scored against the others; or ``validation``, scored against all references.
        files: the images.
    """

    threshold: float
    low: float
    high: float
    images: int
    mean: float
    deviation: float
    source: str = "training"
    files: list[str] = field(default_factory=list)

    @property
    def scale(self) -> ColourScale:
        """The colour scale of the category's heat maps."""
        return ColourScale(self.low, self.high)

    def save(self, path: Path) -> None:
        """Write JSON."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> "Calibration":
        """Read what :meth:`save` wrote; :class:`RunError` if it cannot be used."""
        content: dict[str, Any] = read_json(path)
        try:
            return cls(**content)
        except TypeError as error:
            raise RunError(f"{path} was made by another version ({error}). Train the run again.") from error


def calibrate(
    cascade: CascadePatchRetrieval,
    references: ReferenceImages,
    settings: CalibrationSettings,
    device: torch.device,
    validation: Sequence[Path] = (),
) -> Calibration:
    """Score good images: those of the validation split where there is one, else training images.

    Training images are scored against the *other* references. They were seen in training, so their scores are a little
    low, and new good parts may score higher. Validation images were never seen: they are scored as a new part is,
    against all references.
    """
    images = ReferenceImages(list(validation), references.size) if validation else references
    count = min(settings.images, len(images))
    rows = np.linspace(0, len(images) - 1, count).round().astype(int).tolist()
    scored = score_images(
        cascade,
        count,
        lambda number: images(rows[number]),
        device=device,
        excluded=None if validation else rows,
        description="Calibrating",
    )
    with np.errstate(invalid="ignore"):  # of infinite scores; refused below
        mean, deviation = float(scored.scores.mean()), float(scored.scores.std())
    threshold = mean + settings.sigmas * deviation
    if not math.isfinite(threshold):
        raise RunError(
            "The scores of good images are not finite: the run's weights are damaged. Train it again, with a smaller "
            "training.learning_rate if its last step did this."
        )
    scale = ColourScale.from_good(scored.maps)
    source = "validation" if validation else "training"
    files = [str(images.paths[row]) for row in rows]
    return Calibration(threshold, scale.low, scale.high, count, mean, deviation, source, files)
