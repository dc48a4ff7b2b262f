"""The data sets whose folders say which image is what: one class each, all giving the same :class:`Samples`.

VisA's table is read in :mod:`cpr_lightning.data.visa_layout`, one's own folders in
:mod:`cpr_lightning.data.folder_layout`.
"""

from collections.abc import Mapping
from typing import ClassVar

from cpr_lightning.choices import Kind
from cpr_lightning.data import categories, trees
from cpr_lightning.data.samples import Found
from cpr_lightning.data.tiny import TINY_CATEGORIES, write_tiny
from cpr_lightning.data.tree_layout import TreeLayout
from cpr_lightning.errors import DataError


class MvtecLayout(TreeLayout):
    """MVTec AD: ``<root>/<category>/{train/good, test/<defect>, ground_truth/<defect>/<stem>_mask}``."""

    known = categories.MVTEC
    tree = trees.MVTEC


class Mvtec3dLayout(TreeLayout):
    """MVTec 3D-AD, its colour images alone: ``{train/good, validation/good, test/<defect>}/rgb, test/<defect>/gt``."""

    known = categories.MVTEC3D
    tree = trees.MVTEC3D


class BtadLayout(TreeLayout):
    """BTAD: ``train/ok, test/{ok,ko}, ground_truth/ko``; BMP and PNG; masks hold 0 and either 1 or 255."""

    known = categories.BTAD
    tree = trees.BTAD
    mask_threshold = 0


class MvtecAd2Layout(TreeLayout):
    """MVTec AD 2: ``train/good, validation/good, test_public/{good,bad}``; the private test sets have no labels."""

    known = categories.MVTEC_AD2
    tree = trees.MVTEC_AD2


class TinyLayout(MvtecLayout):
    """The generated data set of ``cpr tiny``, laid out as MVTec AD; written to ``root`` when it is not there yet."""

    known: ClassVar[Mapping[str, Kind]] = {name: Kind(kind) for name, kind in TINY_CATEGORIES.items()}

    def categories(self) -> list[str]:
        """Its categories; what is not there is written when it is asked for."""
        return list(self.known)

    def look(self, category: str) -> Found:
        """See :meth:`Layout.look`."""
        if not any((self.root / name).is_dir() for name in self.known):
            if self.root.is_dir() and any(self.root.iterdir()):
                raise DataError(
                    f"dataset.root={self.root} holds other things than the generated data set, which is not mixed with "
                    "them. Give a new or empty folder, or leave dataset.root out."
                )
            write_tiny(self.root)
        return super().look(category)
