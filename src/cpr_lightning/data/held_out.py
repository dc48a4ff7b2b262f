"""Good images held out of a run: neither trained on nor in its bank."""

from dataclasses import replace

import numpy as np

from cpr_lightning.data.samples import Samples
from cpr_lightning.errors import DataError
from cpr_lightning.settings import Settings


def hold_out(samples: Samples, settings: Settings) -> Samples:
    """Have at least ``validation.images`` validation images: the data set's own, then references.

    Those taken are evenly spread over the references, whatever the seed, so that runs that differ in that alone share
    their index.

    Raises:
        DataError: too few references would be left.
    """
    missing = settings.validation.images - len(samples.validation)
    if missing <= 0:
        return samples
    references = samples.references
    left, needed = len(references) - missing, max(2, settings.retrieval.neighbors)
    if left < needed:
        raise DataError(
            f"validation.images={settings.validation.images} would leave {max(left, 0)} of the {len(references)} good "
            f"images of {samples.category} to learn from, but retrieval.neighbors={settings.retrieval.neighbors} asks "
            f"for {needed}. Hold out {max(len(references) - needed + len(samples.validation), 0)} at most, or lower "
            "retrieval.neighbors."
        )
    # The middles of equal stretches: no row twice, and neither the first nor the last alone.
    rows = set(((np.arange(missing) + 0.5) * len(references) / missing).astype(int).tolist())
    taken = [sample for row, sample in enumerate(references) if row in rows]
    kept = [sample for row, sample in enumerate(references) if row not in rows]
    return replace(samples, references=kept, validation=[*samples.validation, *taken])
