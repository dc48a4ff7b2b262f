"""One's own images, in folders of one's own."""

from pathlib import Path

from cpr_lightning.data.images import list_images
from cpr_lightning.data.layouts import Sample, Samples, find_mask
from cpr_lightning.errors import DataError, SettingsError
from cpr_lightning.settings import Kind


class FolderLayout:
    """One's own images: a folder of good ones; optionally folders of test images and of masks, anywhere.

    Args:
        root: what relative folders are relative to.
        kind: object (default) or texture.
        good: images to learn from.
        test_good: good images to test with; None holds out every fifth of ``good``, if there are defective images.
        defective: images with defects; a sub-folder's name is the name of the defect.
        masks: their masks, at the same relative path, with or without ``_mask``, with any image extension.
    """

    def __init__(
        self,
        root: str | None = None,
        kind: Kind | None = None,
        good: str | None = None,
        test_good: str | None = None,
        defective: str | None = None,
        masks: str | None = None,
        **others: object,
    ) -> None:
        del others
        base = Path(root).expanduser() if root else Path()
        if good is None:
            raise SettingsError("dataset.good is not set: the folder with images of good parts.")
        self.kind = kind or Kind.object
        self.good = base / Path(good).expanduser()
        self.test_good = base / Path(test_good).expanduser() if test_good else None
        self.defective = base / Path(defective).expanduser() if defective else None
        self.masks = base / Path(masks).expanduser() if masks else None

    def samples(self, category: str) -> Samples:
        """All images; ``category`` is the name that the run gives to the product.

        Raises:
            DataError: a folder is missing or holds no image, or a mask is missing.
        """
        good = [Sample(path, None, 0, "good") for path in _images_below(self.good, "dataset.good")]
        test = []
        if self.test_good is not None:
            test = [Sample(path, None, 0, "good") for path in _images_below(self.test_good, "dataset.test_good")]
        elif self.defective is not None:
            test, good = good[4::5], [sample for number, sample in enumerate(good) if number % 5 != 4]
        if self.defective is not None:
            for image in _images_below(self.defective, "dataset.defective"):
                place = image.relative_to(self.defective).with_suffix("")
                mask = None if self.masks is None else find_mask(self.masks, place, image)
                test.append(Sample(image, mask, 1, "_".join(place.parent.parts) or "defective"))
        return Samples(category, self.kind, good, test)


def _images_below(folder: Path, key: str) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{key}={folder} is not a folder.")
    images = list_images(folder)
    if not images:
        raise DataError(f"{key}={folder} holds no image.")
    return images
