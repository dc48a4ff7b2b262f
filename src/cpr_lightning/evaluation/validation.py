"""A score to choose settings by that never looks at the test set: synthetic defects on good images held out.

It is the pixel AP, which tells good settings from better ones where an AUROC is near 1 for all of them. The defects are
drawn as in training, but with generated textures, from random streams of their own, and on images that were never
learned from. Nothing of them depends on ``training``, ``branch``, ``scoring``, or how many references are consulted and
how far around: runs that differ in these are scored on the same pixels.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cpr_lightning.choices import Kind
from cpr_lightning.data.synthesis import SyntheticDefects
from cpr_lightning.data.textures import generated_texture
from cpr_lightning.evaluation.inference import score_images
from cpr_lightning.evaluation.metrics import evaluate
from cpr_lightning.model.cascade import CascadePatchRetrieval

_DRAWS = 4  # defects for each image, one after another
_SCALE = 2  # as training.defect_scale of the released code
_OWN = 2  # names the streams; those of training pairs are 0 and 1 (data/pairs.py)


def validation_score(
    cascade: CascadePatchRetrieval,
    images: Sequence[NDArray[np.uint8]],
    foreground: Sequence[NDArray[np.float32]] | None,
    *,
    kind: Kind,
    seed: int,
    device: torch.device,
) -> float:
    """Pixel AP of synthetic defects.

    Args:
        cascade: on ``device``.
        images: good ones that are no references, each (H, W, 3) uint8 of the run's size.
        foreground: the sharpened map of each, (h, w): where an object's defects may lie. None for textures.
        kind: object or texture.
        seed: of the run.
        device: to compute on.

    Returns:
        In [0, 1]; NaN if no defect has a pixel.
    """
    defects = SyntheticDefects(kind.value, generated_texture, probability=1.0, scale=_SCALE)

    drawn = []
    for number, image in enumerate(images):
        where = None if foreground is None else foreground[number]
        drawn += [defects(image, np.random.default_rng((seed, number, draw, _OWN)), where) for draw in range(_DRAWS)]
    shown, masks = zip(*drawn, strict=True)
    scored = score_images(cascade, len(shown), lambda number: shown[number], device=device, description="Validating")
    return evaluate(scored.maps, np.stack(masks), scored.scores, np.ones(len(shown), dtype=np.int64)).pixel_ap
