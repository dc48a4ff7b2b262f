"""What a bank's codec and the network's runtime cost in accuracy, on real images with the authors' trained branches.

    CPR_TEST_DATA=DIR python experiments/codecs/measure.py [--runtimes] [grid|hazelnut …]

DIR is laid out as DESIGN says: data/, weights/, golden/. Prints one line of JSON for each category and choice. The bank
is always filled by the eager network; with ``--runtimes`` the queries are described by each runtime in turn.
"""

import argparse
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from cpr_lightning.assembly import assemble, create_backbone, create_branch, feature_shapes
from cpr_lightning.choices import Codec, Kind, Precision, Runtime
from cpr_lightning.data.datamodule import ReferenceImages
from cpr_lightning.data.images import read_image, read_mask
from cpr_lightning.data.layouts import MvtecLayout
from cpr_lightning.data.samples import Samples
from cpr_lightning.evaluation.inference import score_images
from cpr_lightning.evaluation.metrics import evaluate
from cpr_lightning.model.cascade import CascadePatchRetrieval
from cpr_lightning.model.network import LocalFeatures
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.runtime.choosing import use_runtime
from cpr_lightning.settings import BackboneSettings, BankSettings, Settings
from cpr_lightning.training.building import IndexSettings
from cpr_lightning.training.indexing import cached_index

_CPU = torch.device("cpu")
_RUNTIMES = [
    (Runtime.compile, Precision.fp32),
    (Runtime.openvino, Precision.fp32),
    (Runtime.onnx, Precision.fp32),
    (Runtime.eager, Precision.bf16),
    (Runtime.openvino, Precision.bf16),
]


def main() -> None:
    """Measure the categories named on the command line, or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("categories", nargs="*", default=["grid", "hazelnut"])
    parser.add_argument("--runtimes", action="store_true")
    options = parser.parse_args()
    for category in options.categories:
        measure(Path(os.environ["CPR_TEST_DATA"]), category, runtimes=options.runtimes)


def measure(root: Path, category: str, *, runtimes: bool) -> None:
    """Print the metrics of every choice."""
    weights = str(root / "weights" / "resnet18_imagenet_layer3.safetensors")
    settings = Settings(backbone=BackboneSettings(name="resnet18", weights=weights))
    samples = MvtecLayout(str(root / "data" / "mvtec")).samples(category)
    backbone = create_backbone(settings)
    features = LocalFeatures(backbone, create_branch(settings, backbone))
    assert features.branch is not None
    features.branch.load_state_dict(load_file(root / "golden" / f"{category}_resnet18" / "local_branch.safetensors"))
    features.eval()
    images = ReferenceImages([sample.image for sample in samples.references], settings.image_size)
    wanted = settings.foreground if samples.kind is Kind.object else None
    with tempfile.TemporaryDirectory() as cache:
        index = cached_index(backbone, images, IndexSettings(settings.retrieval, wanted), Path(cache), _CPU)

    def report(cascade: CascadePatchRetrieval, **choice: str) -> None:
        print(
            json.dumps({"category": category, **choice, **_metrics(cascade, samples, settings.image_size)}), flush=True
        )

    for codec in [Codec.fp16] if runtimes else list(Codec):
        chosen = replace(settings, bank=BankSettings(codec=codec))
        cascade = assemble(chosen, features, index, _bank(chosen, features, images))
        report(cascade, codec=codec.value, runtime="eager fp32")
        for runtime, precision in _RUNTIMES if runtimes else []:
            name = use_runtime(cascade, runtime, precision, _CPU, image_size=settings.image_size)
            report(cascade, codec=codec.value, runtime=name)


def _bank(settings: Settings, features: LocalFeatures, images: ReferenceImages) -> ReferenceBank:
    bank = ReferenceBank(feature_shapes(settings, features.backbone), settings.bank.codec, capacity=len(images))
    with torch.inference_mode():
        if bank.needs_training:
            rows = np.linspace(0, len(images) - 1, 16).round().astype(int)
            bank.train(features(torch.from_numpy(np.stack([images(row) for row in rows])))[1])
        for row in range(len(images)):
            bank.add(features(torch.from_numpy(images(row)[None]))[1])
    return bank


def _metrics(cascade: CascadePatchRetrieval, samples: Samples, size: int) -> dict[str, float]:
    test = samples.test
    scored = score_images(
        cascade, len(test), lambda row: read_image(test[row].image, size), device=_CPU, description=""
    )
    masks = [np.zeros((size, size), bool) if each.mask is None else read_mask(each.mask, size) for each in test]
    return evaluate(scored.maps, np.stack(masks), scored.scores, [sample.label for sample in test]).as_dict()


if __name__ == "__main__":
    main()
