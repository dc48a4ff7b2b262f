"""What can be known before the first cell of a sweep: that some will not find their images."""

from collections.abc import Sequence

from cpr_lightning.build import build_layout
from cpr_lightning.errors import CprError, system_sentence
from cpr_lightning.sweeps.cell import Cell

_NAMED = 5


def foretell(cells: Sequence[Cell]) -> list[str]:
    """A sentence for every data set and category, up to five, whose images are not there.

    The cells are left in the sweep: when their turn comes, the images may be.
    """
    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(f"{cell.settings.dataset} {cell.settings.category}", []).append(cell)
    sentences = []
    for those in alike.values():
        settings = those[0].settings
        try:
            build_layout(settings.dataset).samples(settings.category)
        except (CprError, OSError) as error:
            told = system_sentence(error) if isinstance(error, OSError) else str(error)
            which = those[0].name if len(those) == 1 else f"{those[0].name} and {len(those) - 1} more"
            sentences.append(f"{which} will fail: {told}")
    more = [f"{len(sentences) - _NAMED} more categories have such a fault."] if len(sentences) > _NAMED else []
    return [*sentences[:_NAMED], *more]
