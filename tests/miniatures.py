"""Data sets in miniature, laid out exactly as the real ones: names of folders and files, extensions, tables, masks."""

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = 64
_BOX = (slice(24, 40), slice(20, 44))  # where a defect is


def picture(number: int, *, defect: bool = False, size: int = SIZE) -> NDArray[np.uint8]:
    """A bright disc on dark ground, a little different for each number; a defect is a dark box on it."""
    rng = np.random.default_rng([number, defect])
    image = rng.integers(10, 40, (size, size, 3), dtype=np.uint8)
    cv2.circle(image, (size // 2 + number % 3, size // 2), size // 3, (90, 200, 160), -1)
    if defect:
        image[_BOX] = (20, 20, 220)
    return image


def mask(value: int = 255) -> NDArray[np.uint8]:
    """Where the defect of :func:`picture` is; ``value`` marks it."""
    marked = np.zeros((SIZE, SIZE), np.uint8)
    marked[_BOX] = value
    return marked


def write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def _images(folder: Path, numbers: Iterable[int], suffix: str = ".png", *, defect: bool = False) -> None:
    for number in numbers:
        write(folder / f"{number:03d}{suffix}", picture(number, defect=defect))


def mvtec(root: Path, categories: Iterable[str] = ("bottle", "grid")) -> Path:
    """MVTec AD."""
    for category in categories:
        folder = root / category
        _images(folder / "train" / "good", range(8))
        _images(folder / "test" / "good", range(20, 23))
        for defect in ("broken_large", "contamination"):
            _images(folder / "test" / defect, range(2), defect=True)
            for number in range(2):
                write(folder / "ground_truth" / defect / f"{number:03d}_mask.png", mask())
        (folder / "license.txt").write_text("license")
        (folder / "readme.txt").write_text("readme")
    return root


def mvtec3d(root: Path, categories: Iterable[str] = ("bagel", "cable_gland")) -> Path:
    """MVTec 3D-AD: every split has rgb/ and xyz/, the test split masks in gt/, black ones for good parts too."""
    for category in categories:
        folder = root / category
        (folder / "calibration").mkdir(parents=True)
        for split, first, count in (("train", 0, 8), ("validation", 10, 3)):
            place = folder / split / "good"
            _images(place / "rgb", range(first, first + count))
            _depth(place / "xyz", range(first, first + count))
        for defect, numbers in (("good", range(20, 23)), ("hole", range(2)), ("combined", range(2))):
            place = folder / "test" / defect
            _images(place / "rgb", numbers, defect=defect != "good")
            _depth(place / "xyz", numbers)
            for number in numbers:
                write(place / "gt" / f"{number:03d}.png", mask(0 if defect == "good" else 255))
    return root


def _depth(folder: Path, numbers: Iterable[int]) -> None:
    for number in numbers:
        folder.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / f"{number:03d}.tiff"), np.ones((SIZE, SIZE, 3), np.float32))


def btad(root: Path) -> Path:
    """BTAD: BMP images in 01 and 03, PNG in 02; masks PNG, in 03 BMP, with 1 for 255 in some."""
    for category, suffix, masks, value in (
        ("01", ".bmp", ".png", 255),
        ("02", ".png", ".png", 1),
        ("03", ".bmp", ".bmp", 255),
    ):
        folder = root / "BTech_Dataset_transformed" / category
        for place, numbers, defect in (
            ("train/ok", range(8), False),
            ("test/ok", range(20, 23), False),
            ("test/ko", range(2), True),
        ):
            for number in numbers:
                write(folder / place / f"{number:04d}{suffix}", picture(number, defect=defect))
        for number in range(2):
            write(folder / "ground_truth" / "ko" / f"{number:04d}{masks}", mask(value))
    return root


def visa(root: Path, categories: Iterable[str] = ("candle", "pcb1")) -> Path:
    """VisA: the table, JPEG images, PNG masks that number the sorts of defects."""
    rows = []
    for category in categories:
        place = Path(category) / "Data"
        for number in range(11):
            name = place / "Images" / "Normal" / f"{number:04d}.JPG"
            write(root / name, picture(number))
            rows.append([category, "train" if number < 8 else "test", "normal", name.as_posix(), ""])
        for number in range(3):
            name, marked = (
                place / "Images" / "Anomaly" / f"{number:03d}.JPG",
                place / "Masks" / "Anomaly" / f"{number:03d}.png",
            )
            write(root / name, picture(number, defect=True))
            write(root / marked, mask(number + 1))
            rows.append([category, "test", "anomaly", name.as_posix(), marked.as_posix()])
        (root / category / "image_anno.csv").write_text("image,label,mask\n")
    (root / "split_csv").mkdir()
    with (root / "split_csv" / "1cls.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["object", "split", "label", "image", "mask"], *rows])
    (root / "LICENSE-DATASET").write_text("license")
    return root


def mvtec_ad2(root: Path, categories: Iterable[str] = ("can", "fabric")) -> Path:
    """MVTec AD 2: several lightings, the same names in good/ and bad/, private test sets without labels."""
    lightings = ("regular", "overexposed", "shift_1")
    for category in categories:
        folder = root / category
        for place, numbers in (("train/good", range(8)), ("validation/good", range(10, 13))):
            for number in numbers:
                write(folder / place / f"{number:03d}_regular.png", picture(number))
        for number, lighting in enumerate(lightings):
            write(folder / "test_public" / "good" / f"000_{lighting}.png", picture(20 + number))
            write(folder / "test_public" / "bad" / f"000_{lighting}.png", picture(number, defect=True))
            write(folder / "test_public" / "ground_truth" / "bad" / f"000_{lighting}_mask.png", mask())
        for place in ("test_private", "test_private_mixed"):
            write(folder / place / "000_regular.png", picture(30))
    return root


WRITERS: dict[str, Callable[[Path], Path]] = {
    "mvtec": mvtec,
    "mvtec3d": mvtec3d,
    "btad": btad,
    "visa": visa,
    "mvtec_ad2": mvtec_ad2,
}
