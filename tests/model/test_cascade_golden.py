"""Anomaly maps of real images against those of the authors' released implementation."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from cpr_lightning.choices import Codec, Reading
from cpr_lightning.data.images import read_image
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.cascade import CascadePatchRetrieval
from cpr_lightning.model.global_retrieval import GlobalRetrieval
from cpr_lightning.model.local_branch import LocalBranch
from cpr_lightning.model.network import LocalFeatures
from cpr_lightning.model.postprocess import image_score, postprocess, resize
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.settings import ScoringSettings

SIZE = 320


def read(paths: list[Path]) -> Tensor:
    return torch.from_numpy(np.stack([read_image(path, SIZE) for path in paths]))


def maps_of(path: Path, key: str) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {str(name): each for name, each in zip(file["paths"], file[key], strict=True)}


class Prepared(NamedTuple):
    """The trained cascade with the references that the six images need, and each image's score and neighbors."""

    cascade: CascadePatchRetrieval
    references: list[str]
    wanted: dict[str, tuple[float, list[str]]]


def prepared(folder: Path, category: str) -> Prepared:
    golden, data = folder / "golden" / f"{category}_resnet18", folder / "data" / "mvtec" / category
    backbone = Backbone(
        "resnet18",
        str(folder / "weights" / "resnet18_imagenet_layer3.safetensors"),
        [1, 2],
        statistics=Reading.official,  # the released results were made so
        image_size=SIZE,
    )
    branch = LocalBranch(backbone.channels, 384)
    branch.load_state_dict(load_file(golden / "local_branch.safetensors"))
    features = LocalFeatures(backbone, branch).eval()
    with (golden / "scores.csv").open(encoding="utf-8") as file:
        rows = {row["path"].rsplit(".", 1)[0]: row for row in csv.DictReader(file)}
    wanted = {
        name: (float(rows[name]["score"]), [rows[name][f"neighbor_{rank}"] for rank in range(1, 11)])
        for name in maps_of(golden / "maps.npz", "anomaly_maps")
    }
    references = sorted({neighbor for _, neighbors in wanted.values() for neighbor in neighbors})
    bank = ReferenceBank([(80, 80, 384), (40, 40, 384)], Codec.flat, len(references))
    with torch.inference_mode():
        for start in range(0, len(references), 8):
            bank.add(features(read([data / name for name in references[start : start + 8]]))[1])
    # Targeting is given: it would depend on k-means.
    nothing = GlobalRetrieval(torch.zeros(12, 64), torch.zeros(len(references), 25, 13))
    cascade = CascadePatchRetrieval(
        features, nothing, bank, None, None, neighbors=10, windows=[3, 1], scoring=ScoringSettings()
    )
    return Prepared(cascade, references, wanted)


@pytest.mark.parametrize("category", ["grid", "hazelnut"])
def test_anomaly_maps_and_scores_are_those_of_the_released_code(shared_data: Path, category: str):
    golden, data = shared_data / "golden" / f"{category}_resnet18", shared_data / "data" / "mvtec" / category
    cascade, references, wanted = prepared(shared_data, category)
    expected_maps = maps_of(golden / "maps.npz", "anomaly_maps")
    assert len(expected_maps) == 6
    has_foreground = (golden / "foreground.npz").is_file()
    assert has_foreground == (category == "hazelnut")
    foregrounds = maps_of(golden / "foreground.npz", "maps") if has_foreground else {}
    for name, (score, names) in wanted.items():
        image = read([next(data.glob(f"{name}.*"))])
        neighbors = torch.tensor([[references.index(neighbor) for neighbor in names]])
        if has_foreground:
            stems = [name, *(neighbor.rsplit(".", 1)[0] for neighbor in names)]
            joint = resize(torch.from_numpy(np.stack([foregrounds[stem] for stem in stems]))[None], (SIZE, SIZE)).amax(
                1
            )
            with torch.inference_mode():
                distances = cascade.match(cascade.network.named(cascade.network(image)).local, neighbors)
                anomaly_map = postprocess(distances, joint, (SIZE, SIZE), 4.0)
                made_score = image_score(anomaly_map, 512)
        else:
            anomaly_map, made_score, _ = cascade(image, neighbors=neighbors)
        expected = expected_maps[name]
        assert np.abs(anomaly_map[0].numpy() - expected).max() < 1e-3 * np.ptp(expected), name
        assert made_score.item() == pytest.approx(score, rel=1e-4), name
