"""What fills a defect from elsewhere: folder textures and generated textures."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from cpr_lightning.data.textures import TextureFolder, generated_texture
from cpr_lightning.errors import DataError


@pytest.fixture
def textures(tmp_path: Path) -> Path:
    for name, colour in {"a/red.png": (0, 0, 255), "b/deep/green.PNG": (0, 255, 0)}.items():
        (tmp_path / name).parent.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / name), np.full((20, 30, 3), colour, np.uint8))
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_folder_gives_its_images_as_rgb_squares(textures: Path):
    folder = TextureFolder(textures)
    assert [path.name for path in folder.paths] == ["red.png", "green.PNG"]
    seen = {tuple(folder(16, np.random.default_rng(seed))[8, 8].tolist()) for seed in range(20)}
    assert seen == {(255, 0, 0), (0, 255, 0)}
    assert folder(50, np.random.default_rng(0)).shape == (50, 50, 3)


def test_folder_that_is_missing_or_empty_is_named_with_its_key(tmp_path: Path):
    with pytest.raises(DataError, match=r"training\.anomaly_sources.*nowhere"):
        TextureFolder(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"training\.anomaly_sources.*no images"):
        TextureFolder(tmp_path)


def test_unreadable_texture_is_named(tmp_path: Path):
    (tmp_path / "broken.jpg").write_bytes(b"this is no picture")
    with pytest.raises(DataError, match=r"broken\.jpg"):
        TextureFolder(tmp_path)(16, np.random.default_rng(0))


@pytest.mark.parametrize("size", [32, 75, 128])
def test_generated_textures_are_full_images_and_repeatable(size: int):
    for seed in range(15):
        texture = generated_texture(size, np.random.default_rng(seed))
        assert texture.shape == (size, size, 3)
        assert texture.dtype == np.uint8
        assert texture.astype(float).std(axis=(0, 1)).max() > 2.0  # a pattern, not one colour
        assert np.array_equal(texture, generated_texture(size, np.random.default_rng(seed)))


def test_generated_textures_differ_from_each_other():
    means = {tuple(generated_texture(32, np.random.default_rng(seed))[3, 3].tolist()) for seed in range(30)}
    assert len(means) > 25
