"""Peak memory of scoring one image, beyond the network: what matching against a bank of many references costs.

    python benchmarks/memory.py [--references 300] [--dim 384] [--codec fp16] [--backbone densenet201]

The bank is filled with simulated unit vectors, saved, and mapped from disk in a fresh process, as a run does it. The
process first passes the image through the network alone, so that the difference is the cascade's own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from bank import mapped_mb
from torch.nn import functional as F

from cpr_lightning.assembly import assemble, feature_shapes
from cpr_lightning.choices import Codec
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.index import ReferenceIndex
from cpr_lightning.model.local_branch import LocalBranch
from cpr_lightning.model.network import LocalFeatures
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.retrieval.stored import Stored
from cpr_lightning.retrieval.window import match_window
from cpr_lightning.settings import BackboneSettings, BranchSettings, Settings


def main() -> None:
    """Write the bank, then measure in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=int, default=300)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--codec", choices=[codec.value for codec in Codec], default="fp16")
    parser.add_argument("--backbone", default="densenet201")
    parser.add_argument("--bank", help=argparse.SUPPRESS)  # set in the measuring process
    options = parser.parse_args()
    settings = Settings(
        backbone=BackboneSettings(name=options.backbone, weights="random"), branch=BranchSettings(dim=options.dim)
    )
    settings.bank.codec = Codec(options.codec)
    if options.bank is not None:
        print(json.dumps(measure(settings, options.references, Path(options.bank))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        write_bank(settings, options.references, Path(scratch))
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--bank", scratch], check=True)


def write_bank(settings: Settings, references: int, folder: Path) -> None:
    """A bank of random unit vectors; 16 different images, repeated."""
    features = _features(settings)
    bank = ReferenceBank(feature_shapes(settings, features.backbone), settings.bank.codec, capacity=references)
    generator = torch.Generator().manual_seed(0)
    images = [
        [F.normalize(torch.randn(1, dim, side, side, generator=generator), dim=1) for side, _, dim in bank.shapes]
        for _ in range(16)
    ]
    if bank.needs_training:
        bank.train([torch.cat(scale) for scale in zip(*images, strict=True)])
    for row in range(references):
        bank.add(images[row % len(images)])
    bank.save(folder)


def measure(settings: Settings, references: int, folder: Path) -> dict[str, object]:
    """Peak resident memory in MB: after the network alone, and after the whole cascade."""
    # The compiled kernels and their compiler are the program's, not a query's.
    tiny = F.normalize(torch.ones(1, 2, 2, 4), dim=3)
    match_window(tiny, Stored.of(tiny), torch.zeros(1, 1, dtype=torch.int64), 3)
    features = _features(settings)
    image = torch.zeros(1, settings.image_size, settings.image_size, 3, dtype=torch.uint8)
    with torch.inference_mode():
        for _ in range(3):
            features(image)
    network = _peak_mb()
    bank = ReferenceBank.load(folder, feature_shapes(settings, features.backbone), settings.bank.codec)
    histograms = torch.rand(references, settings.retrieval.blocks**2, settings.retrieval.clusters + 1)
    index = ReferenceIndex(
        torch.rand(settings.retrieval.clusters, features.backbone.channels[0]),
        histograms / histograms.sum(2, keepdim=True),
        torch.zeros(references, settings.retrieval.neighbors, dtype=torch.int64),
    )
    cascade = assemble(settings, features, index, bank)
    for _ in range(3):
        cascade(image)
    whole = _peak_mb()
    mapped = mapped_mb(str(folder))
    return {
        "references": references,
        "dim": settings.branch.dim,
        "codec": settings.bank.codec.value,
        "backbone": settings.backbone.name,
        "bank_mb": round(sum(index.ntotal * index.code_size for index in bank.indexes) / 2**20),
        "peak_network_mb": round(network),
        "peak_cascade_mb": round(whole),
        "beyond_network_mb": round(whole - network),
        "of_it_pages_of_the_bank_mb": round(mapped),
        "beyond_network_and_bank_mb": round(whole - network - mapped),
    }


def _features(settings: Settings) -> LocalFeatures:
    chosen = settings.backbone
    backbone = Backbone(
        chosen.name, chosen.weights, chosen.layers, strides=chosen.strides, image_size=settings.image_size
    )
    return LocalFeatures(backbone, LocalBranch(backbone.channels, settings.branch.dim)).eval()


def _peak_mb() -> float:
    # Not ru_maxrss: a process inherits that from the one that started it.
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
