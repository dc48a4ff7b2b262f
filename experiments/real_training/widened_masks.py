"""Train as `cpr train`, but with every synthetic defect's mask widened by a pixel, as the authors' stored masks are.

    python experiments/real_training/widened_masks.py dataset=mvtec … (the arguments of `cpr train`)

The released code stores masks as JPEG and reads them as "not zero", which widens them (1.27 times the area on average).
This is an experiment about the cause of a difference, not a way to train.
"""

import sys

import cv2
import numpy as np
from numpy.typing import NDArray

from cpr_lightning.cli import main
from cpr_lightning.data import datamodule
from cpr_lightning.data.synthesis import SyntheticDefects

_Drawn = tuple[NDArray[np.uint8], NDArray[np.bool_]]


class WidenedDefects(SyntheticDefects):
    """Synthetic defects whose masks reach a pixel too far."""

    def __call__(
        self, image: NDArray[np.uint8], rng: np.random.Generator, foreground: NDArray[np.float32] | None = None
    ) -> _Drawn:
        """As the class it extends."""
        drawn, mask = super().__call__(image, rng, foreground)
        return drawn, cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


if __name__ == "__main__":
    datamodule.SyntheticDefects = WidenedDefects
    sys.exit(main(["train", *sys.argv[1:]]))
