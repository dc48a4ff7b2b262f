"""The rows of a data set's table: its categories in the order of the paper's tables, and the averages over them."""

from collections.abc import Mapping
from dataclasses import dataclass

from cpr_lightning.choices import Kind
from cpr_lightning.data import categories
from cpr_lightning.data.tiny import TINY_CATEGORIES

TEXTURE_AVERAGE, OBJECT_AVERAGE, TOTAL_AVERAGE, AVERAGE = (
    "texture_average",
    "object_average",
    "total_average",
    "average",
)
_KNOWN: dict[str, dict[str, Kind]] = {
    "mvtec": categories.MVTEC,
    "mvtec3d": categories.MVTEC3D,
    "btad": categories.BTAD,
    "visa": categories.VISA,
    "mvtec_ad2": categories.MVTEC_AD2,
    "tiny": {name: Kind(kind) for name, kind in TINY_CATEGORIES.items()},
}


@dataclass(frozen=True)
class CategoryRow:
    """A category, or an average over some.

    Attributes:
        name: of the category, or one of the averages' names above.
        members: the categories it is over; of a category itself alone.
    """

    name: str
    members: tuple[str, ...]

    @property
    def is_average(self) -> bool:
        """Whether it is no category."""
        return self.members != (self.name,)

    @property
    def label(self) -> str:
        """As it is shown: ``Texture average``, ``metal_nut``."""
        return self.name.replace("_", " ").capitalize() if self.is_average else self.name


def rows_of(dataset: str, found: Mapping[str, str | None]) -> list[CategoryRow]:
    """The rows, missing categories included; the last is over the whole data set.

    A data set with several textures and several objects has averages of both; any other has one. Categories of one's
    own in the folder of a known data set have rows, and are in no average. Of an unknown data set what was found is all
    of it.

    Args:
        dataset: as ``dataset.name``.
        found: category → kind, where it is recorded.
    """
    known = {name: kind.value for name, kind in _KNOWN.get(dataset, {}).items()}
    more = [CategoryRow(name, (name,)) for name in sorted(found) if name not in known]
    if not known:
        known, more = dict(sorted(found.items())), []
    if len(known) == 1 and not more:
        return [CategoryRow(name, (name,)) for name in known]
    textures = tuple(name for name, kind in known.items() if kind == "texture")
    objects = tuple(name for name, kind in known.items() if kind == "object")
    if len(textures) > 1 and len(objects) > 1 and len(textures) + len(objects) == len(known):
        rows = [CategoryRow(name, (name,)) for name in textures]
        rows.append(CategoryRow(TEXTURE_AVERAGE, textures))
        rows += [CategoryRow(name, (name,)) for name in objects]
        rows.append(CategoryRow(OBJECT_AVERAGE, objects))
        return [*rows, *more, CategoryRow(TOTAL_AVERAGE, textures + objects)]
    return [*(CategoryRow(name, (name,)) for name in known), *more, CategoryRow(AVERAGE, tuple(known))]
