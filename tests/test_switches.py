"""The switches of a method study: each changes the step that it names, what follows from that, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import cv2
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.assembly import assemble
from cpr_lightning.choices import Kind, Search
from cpr_lightning.data.datamodule import ReferenceImages
from cpr_lightning.data.pairs import Pair
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.local_branch import LocalBranch
from cpr_lightning.model.network import LocalFeatures
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.retrieval.whole_bank import choose_coreset
from cpr_lightning.settings import Settings, TrainingSettings
from cpr_lightning.training.building import IndexSettings
from cpr_lightning.training.indexing import cached_index
from cpr_lightning.training.module import LocalBranchTraining

SIZE = 64
BASE = [
    *("retrieval.neighbors=3", "retrieval.codebook_vectors=1000", "retrieval.codebook_restarts=1"),
    *("branch.dim=16", "training.pairs=40", "scoring.top_pixels=50"),
]
# A step changes where one that it follows from does, and need not: few references may keep their ranks.
FOLLOWS = {
    "codebook": {"histograms", "ranking", "neighbors", "targeted", "map"},
    "histograms": {"ranking", "neighbors", "targeted", "map"},
    "ranking": {"neighbors", "targeted", "map"},
    "pairs": {"loss"},
}
SWITCHES: dict[str, set[str]] = {
    "retrieval.neighbors=2": {"neighbors", "targeted", "map"},
    "retrieval.blocks=3": {"histograms", "ranking"},
    "retrieval.clusters=9": {"codebook", "histograms", "ranking"},
    "retrieval.ignored_blocks=0": {"ranking"},
    "retrieval.divergence=paper": {"ranking"},
    "retrieval.divergence=l2": {"ranking"},
    "retrieval.windows=[5,1]": {"map", "pairs", "loss"},  # remote pairs keep away from the window
    "retrieval.windows=[3,3]": {"map"},
    "retrieval.search=window": {"targeted", "map"},
    "retrieval.search=coreset": {"targeted", "map"},
    "foreground.enabled=false": {"foreground", "map"},
    "foreground.method=paper": {"foreground", "map"},
    "branch.enabled=false": {"map"},
    "branch.dim=8": {"map", "loss"},
    "training.pair_points=paper": {"pairs", "loss"},
    "training.pairs=30": {"pairs", "loss"},
    "training.remote=false": {"pairs", "loss"},
    "training.remote_weight=paper": {"loss"},
    "training.remote_weight=none": {"loss"},
    "training.loss=paper": {"loss"},
    "training.power=2": {"loss"},
    "training.positive_margin=0.9": {"loss"},
    "training.negative_margin=0.1": {"loss"},
    "scoring.blur_sigma=1": {"map"},
}
Observe = Callable[..., dict[str, Tensor | None]]


def settings_of(*overrides: str) -> Settings:
    merged: Any = OmegaConf.merge(OmegaConf.structured(Settings), OmegaConf.from_dotlist([*BASE, *overrides]))
    settings = Settings()
    for key in ("retrieval", "foreground", "branch", "training", "scoring"):
        setattr(settings, key, OmegaConf.to_object(merged[key]))
    return settings


def batch() -> Pair:
    generator = torch.Generator().manual_seed(11)
    pictures = F.interpolate(torch.rand(4, 3, 8, 8, generator=generator), size=(SIZE, SIZE), mode="bilinear") * 255
    pixels = pictures.to(torch.uint8).movedim(1, -1).contiguous()
    defect = torch.zeros(2, SIZE, SIZE, dtype=torch.bool)
    defect[0, 10:30, 10:30] = True
    maps = torch.rand(4, 16, 16, generator=generator)
    return Pair(pixels[:2], pixels[2:], defect, maps[:2], maps[2:], torch.arange(2))


def branch_of(backbone: Backbone, dim: int) -> LocalBranch:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return LocalBranch(backbone.channels, dim)


def trained(backbone: Backbone, dim: int, settings: TrainingSettings, window: int) -> dict[str, Tensor | None]:
    """The pairs of a batch, and the loss of its first step."""
    branch = branch_of(backbone, dim)
    module = LocalBranchTraining(backbone, branch, settings, kind=Kind.object, window=window, seed=66)
    module.log_dict = MagicMock()
    pairs = module.train().draw_pairs(batch())
    return {
        "pairs": torch.cat([part.flatten() for sort in pairs for part in sort]),
        "loss": module.training_step(batch(), 0),
    }


@pytest.fixture(scope="module")
def observe(small_backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Observe:
    """All steps of a small CPR, from the images to the anomaly maps and the loss, by name."""
    folder = tmp_path_factory.mktemp("switches")
    paths = write_pictures(folder)
    # What does not see a switch need not be done again.
    steps_of_training: dict[str, dict[str, Tensor | None]] = {}

    def steps(*overrides: str) -> dict[str, Tensor | None]:
        settings = settings_of(*overrides)
        enabled = settings.foreground.enabled is not False
        images = ReferenceImages(paths[:7], SIZE)
        of_index = IndexSettings(settings.retrieval, settings.foreground if enabled else None)
        index = cached_index(small_backbone, images, of_index, folder / "cache", torch.device("cpu"))
        of_training = (settings.branch.dim, settings.training, settings.retrieval.windows[0])
        if repr(of_training) not in steps_of_training:
            steps_of_training[repr(of_training)] = trained(small_backbone, *of_training)
        branch = branch_of(small_backbone, settings.branch.dim) if settings.branch.enabled else None
        features = LocalFeatures(small_backbone, branch).eval()
        with torch.inference_mode():
            local = features(torch.stack([torch.from_numpy(images(row)) for row in range(7)]))[1]
        bank = ReferenceBank([(each.shape[2], each.shape[3], each.shape[1]) for each in local], settings.bank.codec)
        bank.add(local)
        coreset = None
        if settings.retrieval.search is Search.coreset:
            coreset = choose_coreset(bank, settings.retrieval.coreset, 0)
        cascade = assemble(settings, features, index, bank, coreset)
        queries = ReferenceImages(paths[7:], SIZE)
        asked = torch.stack([torch.from_numpy(queries(row)) for row in range(3)])
        scored = cascade(asked)
        with torch.inference_mode():
            codes = cascade.network.named(cascade.network(asked)).codes
            ranking = cascade.retrieval.distances(cascade.retrieval.describe(codes))
        return steps_of_training[repr(of_training)] | {
            "codebook": index.codebook,
            "histograms": index.histograms,
            "neighbors": index.neighbors,
            "foreground": index.foreground_maps,
            "ranking": ranking,
            "targeted": scored.neighbors,
            "map": scored.anomaly_map,
        }

    return steps


def write_pictures(folder: Path) -> list[Path]:
    """Ten discs with a stripe, each a little different."""
    rng, paths = np.random.default_rng(7), []
    for number in range(10):
        image = rng.integers(0, 40, (SIZE, SIZE, 3), dtype=np.uint8)
        centre = (SIZE // 2 + int(rng.integers(-5, 6)), SIZE // 2 + int(rng.integers(-5, 6)))
        cv2.circle(image, centre, SIZE // 3, (90, 200, 160), -1)
        x = int(rng.integers(SIZE // 4, 3 * SIZE // 4))
        cv2.line(image, (x, SIZE // 4), (x, 3 * SIZE // 4), (240, 60, 30), 3)
        paths.append(folder / f"{number}.png")
        assert cv2.imwrite(str(paths[-1]), image)
    return paths


@pytest.fixture(scope="module")
def full(observe: Observe) -> dict[str, Tensor | None]:
    return observe()


def same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one, other))


def different(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    return {name for name, value in one.items() if not same(value, other[name])}


def test_nothing_changes_by_itself(observe: Observe, full: dict[str, Tensor | None]):
    assert different(observe(), full) == set()


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_changes_what_it_names(switch: str, observe: Observe, full: dict[str, Tensor | None]):
    changed = different(observe(switch), full)
    named = SWITCHES[switch]
    assert named <= changed
    assert changed <= named.union(*(FOLLOWS.get(step, set()) for step in named))


def test_the_share_of_the_coreset_changes_the_maps(observe: Observe):
    small, large = (observe("retrieval.search=coreset", f"retrieval.coreset={share}") for share in (0.01, 0.2))
    assert different(small, large) == {"map"}
