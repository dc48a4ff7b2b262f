"""Maps and metrics of the authors' trained branches: with their neighbors and foreground, and with our own index.

    CPR_TEST_DATA=DIR python experiments/parity/measure.py [grid|hazelnut …]

DIR is laid out as DESIGN says: data/, weights/, golden/. Prints one line of JSON a category.
"""

import csv
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from cpr_lightning.assembly import assemble, create_backbone, create_branch, feature_shapes
from cpr_lightning.choices import Codec, Kind
from cpr_lightning.data.datamodule import ReferenceImages
from cpr_lightning.data.images import read_image, read_mask
from cpr_lightning.data.layouts import MvtecLayout
from cpr_lightning.data.samples import Samples
from cpr_lightning.evaluation.metrics import Metrics, evaluate
from cpr_lightning.model.cascade import CascadePatchRetrieval
from cpr_lightning.model.index import ReferenceIndex
from cpr_lightning.model.network import LocalFeatures
from cpr_lightning.model.postprocess import image_score, postprocess, resize
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.settings import BackboneSettings, Settings
from cpr_lightning.training.building import IndexSettings
from cpr_lightning.training.indexing import cached_index

_CPU = torch.device("cpu")


@dataclass
class Golden:
    """What the authors' code gave for a category."""

    neighbors: dict[str, list[str]]  # test image → training images, nearest first
    scores: dict[str, float]
    maps: dict[str, np.ndarray]
    foreground: dict[str, np.ndarray]
    metrics: dict[str, float]

    @classmethod
    def read(cls, folder: Path) -> "Golden":
        """Read ``scores.csv``, ``maps.npz``, ``metrics.json`` and, for objects, ``foreground.npz``."""
        with (folder / "scores.csv").open() as file:
            rows = {_stem(row["path"]): row for row in csv.DictReader(file)}
        foreground = folder / "foreground.npz"
        return cls(
            {name: [_stem(row[f"neighbor_{rank}"]) for rank in range(1, 11)] for name, row in rows.items()},
            {name: float(row["score"]) for name, row in rows.items()},
            _by_path(folder / "maps.npz", "anomaly_maps"),
            _by_path(foreground, "maps") if foreground.is_file() else {},
            json.loads((folder / "metrics.json").read_text())["official_150_steps"],
        )


def main() -> None:
    """Measure the categories named on the command line, or both."""
    root = Path(os.environ["CPR_TEST_DATA"])
    for category in sys.argv[1:] or ("grid", "hazelnut"):
        print(json.dumps(measure(root, category)), flush=True)


def measure(root: Path, category: str) -> dict[str, object]:
    """All numbers of a category."""
    folder = root / "golden" / f"{category}_resnet18"
    golden = Golden.read(folder)
    weights = str(root / "weights" / "resnet18_imagenet_layer3.safetensors")
    settings = Settings(backbone=BackboneSettings(name="resnet18", weights=weights))
    settings.bank.codec = Codec.flat
    samples = MvtecLayout(str(root / "data" / "mvtec")).samples(category)
    backbone = create_backbone(settings)
    features = LocalFeatures(backbone, create_branch(settings, backbone))
    assert features.branch is not None
    features.branch.load_state_dict(load_file(folder / "local_branch.safetensors"))
    features.eval()
    images = ReferenceImages([sample.image for sample in samples.references], settings.image_size)
    bank = ReferenceBank(feature_shapes(settings, backbone), settings.bank.codec, capacity=len(images))
    with torch.inference_mode():
        for row in range(len(images)):
            bank.add(features(torch.from_numpy(images(row)[None]))[1])
    wanted = settings.foreground if samples.kind is Kind.object else None
    with tempfile.TemporaryDirectory() as cache:
        index = cached_index(backbone, images, IndexSettings(settings.retrieval, wanted), Path(cache), _CPU)
    cascade = assemble(settings, features, index, bank)
    given = _score(cascade, samples, golden)
    own = _score(cascade, samples, None)
    differences = {
        name: float(np.abs(given[name] - expected).mean() / np.ptp(expected)) for name, expected in golden.maps.items()
    }
    scores = [abs(_image_score(given[name]) - score) / score for name, score in golden.scores.items()]
    return {
        "category": category,
        "map_difference_worst": max(differences.values()),
        "score_difference_worst": max(scores),
        "authors": golden.metrics,
        "given_neighbors_and_foreground": _metrics(samples, given).as_dict(),
        "own_index": _metrics(samples, own).as_dict(),
        "foreground_difference_mean": _foreground_difference(index, samples, golden),
    }


def _score(cascade: CascadePatchRetrieval, samples: Samples, golden: Golden | None) -> dict[str, np.ndarray]:
    """Anomaly maps by ``<split>/<defect>/<stem>``; with the golden neighbors and foreground, or our own."""
    rows = {f"train/good/{sample.image.stem}": row for row, sample in enumerate(samples.references)}
    maps = {}
    for sample in samples.test:
        name = f"test/{sample.defect}/{sample.image.stem}"
        image = torch.from_numpy(read_image(sample.image, 320)[None])
        if golden is None:
            maps[name] = cascade(image).anomaly_map[0].numpy()
            continue
        neighbors = torch.tensor([[rows[other] for other in golden.neighbors[name]]])
        if not golden.foreground:
            maps[name] = cascade(image, neighbors=neighbors).anomaly_map[0].numpy()
            continue
        with torch.inference_mode():
            distances = cascade.match(cascade.network.named(cascade.network(image)).local, neighbors)
            joint = np.stack([golden.foreground[each] for each in (name, *golden.neighbors[name])])
            foreground = resize(torch.from_numpy(joint)[None], (320, 320)).amax(1)
            maps[name] = postprocess(distances, foreground, (320, 320), 4.0)[0].numpy()
    return maps


def _metrics(samples: Samples, maps: dict[str, np.ndarray]) -> Metrics:
    stacked = np.stack(list(maps.values()))
    masks = [np.zeros((320, 320), bool) if each.mask is None else read_mask(each.mask, 320) for each in samples.test]
    scores = [_image_score(each) for each in stacked]
    return evaluate(stacked, np.stack(masks), scores, [sample.label for sample in samples.test])


def _image_score(anomaly_map: np.ndarray) -> float:
    return float(image_score(torch.from_numpy(anomaly_map)[None], 512))


def _foreground_difference(index: ReferenceIndex, samples: Samples, golden: Golden) -> float | None:
    if index.foreground_maps is None:
        return None
    ours = index.foreground_maps.numpy()
    theirs = np.stack([golden.foreground[f"train/good/{sample.image.stem}"] for sample in samples.references])
    return float(np.abs(ours - theirs).mean())


def _stem(path: str) -> str:
    return path.rsplit(".", 1)[0]


def _by_path(file: Path, key: str) -> dict[str, np.ndarray]:
    with np.load(file) as arrays:
        return dict(zip((str(path) for path in arrays["paths"]), arrays[key], strict=True))


if __name__ == "__main__":
    main()
