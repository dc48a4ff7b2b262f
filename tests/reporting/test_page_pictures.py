"""Pictures inside a page: small, once, and not too many."""

import base64
from pathlib import Path

import cv2
import numpy as np

from cpr_lightning.reporting.page_pictures import Pictures
from cpr_lightning.visual.overlay import write_png

RED = (220, 30, 40)


def red(path: Path, height: int = 100, width: int = 200) -> Path:
    write_png(path, np.full((height, width, 3), RED, np.uint8))
    return path


def decoded(address: str) -> np.ndarray:
    start, _, content = address.partition(",")
    assert start == "data:image/webp;base64"
    image = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image[..., ::-1]


def test_a_picture_is_reduced_and_keeps_its_shape_and_colour(tmp_path: Path):
    pictures = Pictures(100_000)
    assert pictures.add(red(tmp_path / "a.png"), 50) == 0
    image = decoded(pictures.addresses[0])
    assert image.shape == (25, 50, 3)
    assert np.abs(image.astype(int) - RED).max() < 8
    assert pictures.add(tmp_path / "a.png", 400) == 1  # a small one is not enlarged
    assert decoded(pictures.addresses[1]).shape == (100, 200, 3)


def test_a_picture_that_many_ask_for_is_held_once(tmp_path: Path):
    pictures = Pictures(100_000)
    red(tmp_path / "a.png")
    assert [pictures.add(tmp_path / "a.png", 50) for _ in range(3)] == [0, 0, 0]
    assert len(pictures.addresses) == 1


def test_the_room_is_never_exceeded_and_what_is_left_out_is_counted(tmp_path: Path):
    pictures = Pictures(1000)
    numbers = [pictures.add(red(tmp_path / f"{number}.png"), 50) for number in range(40)]
    fitted = [number for number in numbers if number is not None]
    assert 0 < len(fitted) < 40
    assert numbers == [*range(len(fitted)), *[None] * (40 - len(fitted))]
    assert sum(map(len, pictures.addresses)) <= 1000
    assert pictures.left_out == 40 - len(fitted)


def test_what_cannot_be_read_or_encoded_has_no_number(tmp_path: Path):
    pictures = Pictures(100_000)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    assert pictures.add(tmp_path / "broken.png", 50) is None
    assert pictures.add(tmp_path / "missing.png", 50) is None
    assert pictures.add(red(tmp_path / "high.png", height=20_000, width=4), 50) is None
    assert pictures.left_out == 0
