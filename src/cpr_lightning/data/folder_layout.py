"""One's own images, in folders of one's own."""

from pathlib import Path

from cpr_lightning.choices import Kind
from cpr_lightning.data.finding import find_mask, unused_masks
from cpr_lightning.data.images import list_images
from cpr_lightning.data.layout import Layout
from cpr_lightning.data.samples import Found, Sample, Samples
from cpr_lightning.errors import DataError, SettingsError


class FolderLayout(Layout):
    """One's own images: a folder of good ones; optionally folders of test images and of masks, anywhere.

    Args:
        root: what relative folders are relative to.
        kind: object (default) or texture.
        mask_threshold: a pixel of a mask above it is defective; None: masks hold 0 and 255.
        good: images to learn from.
        test_good: good images to test with; None holds out every fifth of ``good``, if there are defective images.
        defective: images with defects; a sub-folder's name is the name of the defect.
        masks: their masks, at the same relative path, with or without ``_mask``, with any image extension.
    """

    def __init__(
        self,
        root: str | None = None,
        kind: Kind | None = None,
        mask_threshold: int | None = None,
        good: str | None = None,
        test_good: str | None = None,
        defective: str | None = None,
        masks: str | None = None,
        **others: object,
    ) -> None:
        super().__init__(root or ".", kind or Kind.object, mask_threshold, **others)
        base = self.root
        if good is None:
            raise SettingsError("dataset.good is not set: the folder with images of good parts.")
        self.good = base / Path(good).expanduser()
        self.test_good = base / Path(test_good).expanduser() if test_good else None
        self.defective = base / Path(defective).expanduser() if defective else None
        self.masks = base / Path(masks).expanduser() if masks else None

    def categories(self) -> list[str]:
        """None is known: a folder of one's own holds one product.

        Raises:
            SettingsError: always.
        """
        raise SettingsError(
            "dataset=folder has no list of categories: its images are one product, and category is the name that you "
            "give it (category=NAME)."
        )

    def look(self, category: str) -> Found:
        """See :meth:`Layout.look`; ``category`` is the name that the run gives to the product."""
        problems: list[str] = []
        good = [Sample(path, None, 0, "good") for path in _images_below(self.good, "dataset.good")]
        test = []
        if self.test_good is not None:
            test = [Sample(path, None, 0, "good") for path in _images_below(self.test_good, "dataset.test_good")]
        elif self.defective is not None:
            test, good = good[4::5], [sample for number, sample in enumerate(good) if number % 5 != 4]
        if self.defective is not None:
            for image in _images_below(self.defective, "dataset.defective"):
                place = image.relative_to(self.defective).with_suffix("")
                mask = None
                try:
                    mask = None if self.masks is None else find_mask(self.masks, place, image)
                except DataError as error:
                    problems.append(str(error))
                test.append(Sample(image, mask, 1, "_".join(place.parent.parts) or "defective", self.mask_threshold))
        listed = [] if self.masks is None else list_images(self.masks)
        remarks = unused_masks(listed, [sample.mask for sample in test])
        return Found(Samples(category, self.kind_of(category), good, test), problems, remarks)


def _images_below(folder: Path, key: str) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{key}={folder} is not a folder.")
    images = list_images(folder)
    if not images:
        raise DataError(f"{key}={folder} holds no image.")
    return images
