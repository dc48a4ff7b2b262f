"""The validation score: what it is drawn from, and that better maps have a better score."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cpr_lightning.choices import Kind
from cpr_lightning.data.synthesis import SyntheticDefects
from cpr_lightning.evaluation.validation import validation_score
from cpr_lightning.model.cascade import CascadeOutput

SIZE = 64
CPU = torch.device("cpu")


def good(count: int = 3) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(1)
    return [np.full((SIZE, SIZE, 3), rng.integers(60, 200, 3), np.uint8) for _ in range(count)]


class Cascade:
    """Scores images by a function of them; keeps what it was shown."""

    def __init__(self, maps: Callable[[Tensor], Tensor]) -> None:
        self.maps = maps
        self.shown: list[Tensor] = []

    def __call__(self, images: Tensor, *, excluded: Tensor | None = None) -> CascadeOutput:
        assert excluded is None, "held-out images are no references"
        self.shown += list(images)
        maps = self.maps(images)
        return CascadeOutput(maps, maps.flatten(1).sum(1), torch.zeros(len(images), 0, dtype=torch.int64))


def score(cascade: Cascade, images: list[NDArray[np.uint8]], seed: int = 66, **more: Any) -> float:
    given: dict[str, Any] = {"foreground": None, "kind": Kind.texture, "device": CPU} | more
    return validation_score(cascade, images, seed=seed, **given)  # pyright: ignore[reportArgumentType]


def difference(images: Tensor) -> Tensor:
    """From the most frequent colour: what shows a defect on images of one colour."""
    return (images.float() - images.flatten(1, 2).mode(dim=1).values[:, None, None].float()).abs().sum(-1)


def noise(images: Tensor) -> Tensor:
    return torch.rand(images.shape[:3], generator=torch.Generator().manual_seed(3))


def test_better_maps_have_a_better_score():
    whole, weak = score(Cascade(difference), good()), score(Cascade(lambda x: difference(x) + 300 * noise(x)), good())
    nothing = score(Cascade(noise), good())
    assert whole > 0.8  # a soft edge of one pixel is not in the mask
    assert whole > weak > nothing
    assert nothing < 0.3


def test_the_same_seed_draws_the_same_defects_and_every_showing_has_its_own():
    first, again, other = Cascade(noise), Cascade(noise), Cascade(noise)
    assert score(first, good()) == score(again, good())
    score(other, good(), seed=67)
    assert all(torch.equal(one, two) for one, two in zip(first.shown, again.shown, strict=True))
    assert not any(torch.equal(one, two) for one, two in zip(first.shown, other.shown, strict=True))
    drawn = {image.numpy().tobytes() for image in first.shown}
    assert len(drawn) == len(first.shown) == 4 * len(good())
    for number, image in enumerate(first.shown):
        clean = torch.from_numpy(good()[number // 4])
        assert (image == clean).all(-1).any()
        assert not torch.equal(image, clean)


def test_defects_differ_from_those_of_training_pairs(monkeypatch: pytest.MonkeyPatch):
    streams: list[int] = []

    def draw(self: SyntheticDefects, image: Any, rng: np.random.Generator, where: Any) -> tuple[Any, Any]:
        del self, where
        streams.append(int(rng.integers(2**60)))
        return image, np.ones((SIZE, SIZE), bool)

    monkeypatch.setattr(SyntheticDefects, "__call__", draw)
    score(Cascade(noise), good(8), seed=66)
    of_pairs = {
        int(np.random.default_rng(words).integers(2**60))
        for epoch in range(12)
        for row in range(12)
        for words in ((66, epoch, row + 1), (66, epoch, row + 1, 1), (66, epoch))
    }
    assert len(set(streams)) == 32
    assert not of_pairs & set(streams)


def test_an_objects_defects_lie_on_its_foreground():
    left = np.zeros((16, 16), np.float32)
    left[:, :4] = 1
    shown = Cascade(difference)
    assert score(shown, good(), kind=Kind.object, foreground=[left] * 3) > 0.5
    for image in shown.shown:
        assert difference(image[None])[0, :, : SIZE // 4].any()
