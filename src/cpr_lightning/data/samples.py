"""What a layout finds: the images of one category, and what is known of each."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cpr_lightning.choices import Kind
from cpr_lightning.data.images import read_mask


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
        image: its file.
        mask: the file of its defect mask; None for a good image, or where none was given.
        label: 1 if defective, from the folder (a mask can vanish when it is resized).
        defect: name of the defect, ``good`` if there is none.
        mask_threshold: what its data set's masks hold: a pixel above this is defective. None: 0 and 255, nothing else.
    """

    image: Path
    mask: Path | None
    label: int
    defect: str
    mask_threshold: int | None = None

    @property
    def name(self) -> str:
        """How the image is called in files: ``<defect>/<stem>``."""
        return f"{self.defect}/{self.image.stem}"

    def read_mask(self, size: int | None = None) -> NDArray[np.bool_] | None:
        """Where its defects are, (H, W) bool, or None without a mask; see :func:`cpr_lightning.data.images.read_mask`.

        The one way to read the mask of a sample: only the sample knows what its data set's masks hold.
        """
        return None if self.mask is None else read_mask(self.mask, size, self.mask_threshold)


@dataclass(frozen=True)
class Samples:
    """A category.

    Attributes:
        category: its name.
        kind: what it shows.
        references: good images to learn from.
        test: images to test with.
        validation: good images for thresholds and the validation score; none is learned from or tested with.
        defective: real defective images to learn from (scenario supervised); none of them is in ``test``.
    """

    category: str
    kind: Kind
    references: list[Sample]
    test: list[Sample]
    validation: list[Sample] = field(default_factory=list)
    defective: list[Sample] = field(default_factory=list)


class Found(NamedTuple):
    """What a layout finds of a category.

    Attributes:
        samples: what there is.
        problems: sentences about what must be put right before anything is learned from it.
        remarks: sentences about what is odd and does no harm.
    """

    samples: Samples
    problems: list[str]
    remarks: list[str]
