"""What several tests need: the golden numbers, a small frozen backbone, a folder of generated images."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from cpr_lightning.choices import Reading
from cpr_lightning.model.backbone import Backbone

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_on():
    """Where the tests run in the background, Ctrl-C is switched off for them and for what they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real images, weights and golden maps; the test is skipped when there is none."""
    folder = os.environ.get("CPR_TEST_DATA")
    if not folder:
        pytest.skip("CPR_TEST_DATA is not set: it names the folder with data/, weights/ and golden/ of real images")
    for part in ("data", "weights", "golden"):
        if not (Path(folder) / part).is_dir():
            pytest.fail(f"CPR_TEST_DATA={folder} holds no folder {part}/")
    return Path(folder)


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, Tensor]]:
    """Reads tests/golden/<name>.npz as tensors."""

    def read(name: str) -> dict[str, Tensor]:
        with np.load(GOLDEN / f"{name}.npz") as file:
            return {key: torch.from_numpy(file[key]) for key in file.files}

    return read


@pytest.fixture(scope="session")
def small_backbone() -> Backbone:
    """A ResNet-18 with random weights: 64 and 128 channels at strides 4 and 8. Frozen, so it can be shared."""
    return Backbone("resnet18", "random", [1, 2], statistics=Reading.paper)


@pytest.fixture
def write_parts(tmp_path: Path) -> Callable[..., list[Path]]:
    """Writes images of a bright disc with a stripe, each a little different, as PNG files."""

    def write(count: int, size: int = 64, folder: str = "good") -> list[Path]:
        rng = np.random.default_rng(7)
        paths = []
        for number in range(count):
            image = rng.integers(0, 40, (size, size, 3), dtype=np.uint8)
            centre = (size // 2 + int(rng.integers(-3, 4)), size // 2 + int(rng.integers(-3, 4)))
            cv2.circle(image, centre, size // 3, (90, 200, 160), -1)
            x = int(rng.integers(size // 4, 3 * size // 4))
            cv2.line(image, (x, size // 4), (x, 3 * size // 4), (240, 60, 30), 3)
            path = tmp_path / folder / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), image)
            paths.append(path)
        return paths

    return write
