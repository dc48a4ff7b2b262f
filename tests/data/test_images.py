"""Images and masks are read right, or refused with the path."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from cpr_lightning.data.images import is_image, list_images, read_image, read_mask
from cpr_lightning.errors import DataError


def picture(height: int = 60, width: int = 80, seed: int = 0) -> np.ndarray:
    """Smooth RGB, so that JPEG changes it little."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.asarray(cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 5), None, 0, 255, cv2.NORM_MINMAX))  # pyright: ignore[reportCallIssue, reportArgumentType]


def write(path: Path, image: np.ndarray) -> Path:
    """``image`` in RGB, RGBA or grey."""
    if image.ndim == 3:
        image = image[..., [2, 1, 0, 3][: image.shape[2]]]
    assert cv2.imwrite(str(path), image)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm", ".PNG"])
def test_lossless_images_are_read_as_rgb(tmp_path: Path, suffix: str):
    given = picture()
    read = read_image(write(tmp_path / f"a{suffix}", given))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, given)


def test_jpeg_is_read_as_rgb(tmp_path: Path):
    given = picture()
    read = read_image(write(tmp_path / "a.jpg", given))
    assert np.abs(read.astype(int) - given).mean() < 4
    assert np.abs(read[..., ::-1].astype(int) - given).mean() > 10


def test_grey_images_become_three_equal_channels(tmp_path: Path):
    grey = picture()[..., 0]
    read = read_image(write(tmp_path / "a.png", grey))
    np.testing.assert_array_equal(read, np.stack([grey] * 3, axis=2))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("colour", [True, False])
def test_deep_images_are_scaled_to_8_bit(tmp_path: Path, suffix: str, colour: bool):
    given = picture() if colour else picture()[..., 0]
    read = read_image(write(tmp_path / f"a{suffix}", given.astype(np.uint16) * 257))
    expected = given if colour else np.stack([given] * 3, axis=2)
    assert read.dtype == np.uint8
    assert np.abs(read.astype(int) - expected).max() <= 1


def test_transparency_is_left_out(tmp_path: Path):
    given = picture()
    alpha = np.random.default_rng(1).integers(0, 256, (60, 80, 1), dtype=np.uint8)
    np.testing.assert_array_equal(read_image(write(tmp_path / "a.png", np.concatenate([given, alpha], 2))), given)


def test_palette_images_are_read_in_their_colours(tmp_path: Path):
    from PIL import Image

    given = np.zeros((10, 12, 3), np.uint8)
    given[:, :4], given[:, 4:8], given[:, 8:] = (255, 0, 0), (0, 200, 0), (10, 20, 30)
    Image.fromarray(given).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "a.png")
    assert np.abs(read_image(tmp_path / "a.png").astype(int) - given).max() <= 8


def test_resizing_is_bilinear_without_antialiasing_and_ignores_the_aspect_ratio(tmp_path: Path):
    given = picture(90, 40)
    read = read_image(write(tmp_path / "a.png", given), 32)
    np.testing.assert_array_equal(read, cv2.resize(given, (32, 32), interpolation=cv2.INTER_LINEAR))
    # A pixel at the middle of output cell (0, 0) lies at (0.125, 0.90625) of the input: plain bilinear weights.
    y, x = 0.5 * 90 / 32 - 0.5, 0.5 * 40 / 32 - 0.5
    top = given[0, 0] * (1 - x) + given[0, 1] * x
    below = given[1, 0] * (1 - x) + given[1, 1] * x
    assert np.abs(read[0, 0] - (top * (1 - y) + below * y)).max() <= 1


def test_an_image_of_the_asked_size_stays_as_it_is(tmp_path: Path):
    given = picture(32, 32)
    np.testing.assert_array_equal(read_image(write(tmp_path / "a.png", given), 32), given)


def test_names_that_are_not_ascii_are_no_hindrance(tmp_path: Path):
    write(tmp_path / "a.png", picture())
    strange = (tmp_path / "a.png").rename(tmp_path / "Schraube № 7 (größer).png")
    assert read_image(strange).shape == (60, 80, 3)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".webp"])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, suffix: str, share: float):
    path = write(tmp_path / f"a{suffix}", picture(200, 240))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    for reader in (read_image, read_mask):
        with pytest.raises(DataError, match=str(path)):
            reader(path)


def test_a_large_jpeg_that_lacks_its_end_is_refused(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    path = write(tmp_path / "a.jpg", noise)
    content = path.read_bytes()
    assert len(content) > 50_000
    path.write_bytes(content[:-5000])
    with pytest.raises(DataError, match=rf"{path} is cut short or damaged"):
        read_image(path)


@pytest.mark.parametrize("trailing", [b"\x00" * 100, b"camera data " * 1000])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_bytes_behind_the_picture_are_no_hindrance(tmp_path: Path, suffix: str, trailing: bytes):
    path = write(tmp_path / f"a{suffix}", picture())
    before = read_image(path)
    path.write_bytes(path.read_bytes() + trailing)
    np.testing.assert_array_equal(read_image(path), before)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"\x00" * 5000])
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=str(path)):
        read_image(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"none\.png does not exist"):
        read_image(tmp_path / "none.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DataError, match=r"folder\.png cannot be read"):
        read_image(tmp_path / "folder.png")


LEVELS = np.array([[0, 1, 126, 127], [128, 129, 254, 255]], np.uint8)


@pytest.mark.parametrize("threshold", [0, 1, 127, 254])
def test_a_mask_is_defective_above_its_threshold(tmp_path: Path, threshold: int):
    mask = read_mask(write(tmp_path / "mask.png", LEVELS), threshold=threshold)
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, threshold < LEVELS)


def test_without_a_threshold_a_mask_holds_0_and_255_alone(tmp_path: Path):
    path = write(tmp_path / "mask.png", LEVELS)
    with pytest.raises(DataError, match=r"mask\.png holds the values 0, 1, 126, 127, 128, 129, …; .*mask_threshold=0"):
        read_mask(path)
    for value in (1, 2, 100, 254):
        other = write(tmp_path / "mask.png", np.where(LEVELS > 127, np.uint8(value), np.uint8(0)))
        with pytest.raises(DataError, match=rf"holds the values 0, {value}; it may hold 0 \(good\) and 255"):
            read_mask(other)
    np.testing.assert_array_equal(read_mask(write(path, np.full((4, 4), 255, np.uint8))), np.ones((4, 4), bool))


def test_a_mask_in_a_format_that_loses_may_be_a_little_off(tmp_path: Path):
    grey = np.asarray(cv2.circle(np.zeros((64, 64), np.uint8), (30, 35), 17, 255, -1))
    marked = grey > 0
    path = tmp_path / "mask.jpg"
    for picture_of in (grey, np.stack([grey] * 3, axis=2)):
        assert cv2.imwrite(str(path), picture_of, [cv2.IMWRITE_JPEG_QUALITY, 80])
        stored = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert stored is not None
        assert set(np.unique(stored).tolist()) - {0, 255}, "the format did lose something"
        np.testing.assert_array_equal(read_mask(path), marked)
    for value in (70, 128, 180):
        assert cv2.imwrite(str(path), np.where(marked, np.uint8(value), np.uint8(0)))
        with pytest.raises(DataError, match=r"mask\.jpg holds the values"):
            read_mask(path)


@pytest.mark.parametrize("threshold", [None, 0])
@pytest.mark.parametrize("name", ["mask.png", "mask.bmp", "mask.jpg"])
def test_a_mask_in_colour_is_refused(tmp_path: Path, name: str, threshold: int | None):
    red = np.zeros((20, 30, 3), np.uint8)
    red[5:9, 10:20, 0] = 255
    with pytest.raises(DataError, match=r"The mask .*mask\.\w+ is in colour"):
        read_mask(write(tmp_path / name, red), threshold=threshold)


def test_of_a_palette_the_numbers_are_taken_where_masks_number_defects(tmp_path: Path):
    numbers = np.zeros((20, 30), np.uint8)
    numbers[5:9, 10:20], numbers[12:15, 3:6] = 1, 2
    image = Image.fromarray(numbers)
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 0, 0])  # 1 is red, 2 black
    image.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", threshold=0), numbers > 0)
    with pytest.raises(DataError, match="in colour"):
        read_mask(tmp_path / "mask.png")
    image.putpalette([0, 0, 0, 255, 255, 255, 255, 255, 255])
    image.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), numbers > 0)


def test_deep_masks_that_number_defects_keep_their_numbers(tmp_path: Path):
    numbers = np.array([[0, 1, 2], [3, 0, 300]], np.uint16)
    np.testing.assert_array_equal(read_mask(write(tmp_path / "mask.png", numbers), threshold=0), numbers > 0)


def test_a_mask_is_resized_to_the_nearest_pixel_and_stays_a_mask(tmp_path: Path):
    values = (np.random.default_rng(0).random((90, 64)) < 0.3).astype(np.uint8) * 255
    mask = read_mask(write(tmp_path / "mask.png", values), 32)
    assert mask.shape == (32, 32)
    rows, columns = (np.arange(32) * 90) // 32, (np.arange(32) * 64) // 32
    np.testing.assert_array_equal(mask, values[np.ix_(rows, columns)] > 127)


def test_coloured_and_deep_masks_are_read(tmp_path: Path):
    marked = np.zeros((20, 30), bool)
    marked[5:9, 10:20] = True
    white = np.where(marked, 255, 0).astype(np.uint8)
    write(tmp_path / "colour.png", np.stack([white] * 3, axis=2))
    write(tmp_path / "deep.png", white.astype(np.uint16) * 257)
    for name in ("colour.png", "deep.png"):
        np.testing.assert_array_equal(read_mask(tmp_path / name), marked)


def test_images_are_known_by_their_name():
    assert is_image(Path("a/B.JPeG"))
    assert is_image(Path("a.b.tiff"))
    assert not is_image(Path("a/.hidden.png"))
    assert not is_image(Path("a.txt"))
    assert not is_image(Path("png"))


def test_images_are_listed_from_all_folders_in_order(tmp_path: Path):
    for name in ("b/2.png", "b/10.jpg", "a.bmp", "b/c/1.tif", "b/.hidden.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = [str(path.relative_to(tmp_path)) for path in list_images(tmp_path)]
    assert found == ["a.bmp", "b/10.jpg", "b/2.png", "b/c/1.tif"]
