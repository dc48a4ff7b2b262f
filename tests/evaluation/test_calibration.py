"""What good images cannot calibrate; the rest is tested through the command line."""

from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch

from cpr_lightning.data.datamodule import ReferenceImages
from cpr_lightning.errors import RunError
from cpr_lightning.evaluation.calibration import calibrate
from cpr_lightning.model.cascade import CascadeOutput
from cpr_lightning.model.postprocess import image_score
from cpr_lightning.settings import CalibrationSettings


@pytest.mark.parametrize("pixel", [torch.nan, torch.inf])
def test_maps_that_are_not_finite_are_a_sentence(pixel: float, tmp_path: Path):
    # A last step of training that went too far: no loss was taken of the weights that it left.
    path = tmp_path / "good.png"
    cv2.imwrite(str(path), np.zeros((32, 32, 3), np.uint8))

    def cascade(images: torch.Tensor, **_: object) -> CascadeOutput:
        maps = torch.rand(len(images), 32, 32)
        maps[:, 3:9, 3:9] = pixel
        return CascadeOutput(maps, image_score(maps, 4), torch.zeros(len(images), 0, dtype=torch.int64))

    images = ReferenceImages([path, path], 32)
    with pytest.raises(RunError, match="not finite"):
        calibrate(cast(Any, cascade), images, CalibrationSettings(), torch.device("cpu"))
