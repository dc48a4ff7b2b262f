"""What every layout on disk can be asked: which categories there are, and what images one has."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from cpr_lightning.choices import Kind
from cpr_lightning.data.samples import Found, Samples
from cpr_lightning.errors import DataError, SettingsError, first_three


class Layout(ABC):
    """What all layouts have in common.

    Args:
        root: the folder that holds the data set.
        kind: what the category shows; None: as it is known.
        mask_threshold: a pixel of a mask above it is defective; None: as the data set's masks are.
        others: keys of other layouts, of no use to this one.
    """

    known: ClassVar[Mapping[str, Kind]] = {}
    mask_threshold: int | None = None  # None: masks hold 0 and 255, nothing else

    def __init__(
        self, root: str, kind: Kind | None = None, mask_threshold: int | None = None, **others: object
    ) -> None:
        del others
        self.root = Path(root).expanduser()
        self.kind = kind
        if mask_threshold is not None:
            self.mask_threshold = mask_threshold

    @abstractmethod
    def categories(self) -> list[str]:
        """The data set's categories that are there, in the order of its paper.

        Raises:
            CategoryError: there is none.
            SettingsError: the layout has no list of categories.
        """

    @abstractmethod
    def look(self, category: str) -> Found:
        """All that there is of a category, with everything that is wrong with it.

        Raises:
            CategoryError: the root or the category is missing.
            DataError: nothing can be said, because the good images to learn from, or all to test with, are missing.
            SettingsError: the kind of an unknown category was not given.
        """

    def samples(self, category: str) -> Samples:
        """All images of a category.

        Raises:
            DataError: as :meth:`look`, or a mask or an image that should be there is missing.
            SettingsError: the kind of an unknown category was not given.
        """
        found = self.look(category)
        if found.problems:
            raise DataError(first_three(found.problems))
        return found.samples

    def kind_of(self, category: str) -> Kind:
        """What a category shows: as it was said, else as it is known."""
        kind = self.kind or self.known.get(category)
        if kind is None:
            raise SettingsError(
                f"{category} is not a known category ({', '.join(sorted(self.known))}); "
                "say what it shows with dataset.kind=object or dataset.kind=texture."
            )
        return kind
