"""A training step against the plain formulation, interleaved in one process, and what the loader delivers.

    python benchmarks/training.py [--batch 8] [--backbone resnet18] [--threads 2] [--precision fp32] [--device cpu]
    python benchmarks/training.py --references DIR --kind texture [--textures DTD_DIR]     # the loader as well

The plain formulation: every layer on whole maps, the average pooling before its convolution, every cell projected to D
numbers, and the projected maps read at the points of each sort of pair. Both start from the same weights, and their
losses and gradients are compared before the clock runs.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.choices import Kind
from cpr_lightning.data.datamodule import PairDataModule
from cpr_lightning.data.pairs import Pair
from cpr_lightning.data.samples import Sample, Samples
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.local_branch import ConvNorm, LocalBranch, ScaleBranch
from cpr_lightning.settings import TrainingSettings
from cpr_lightning.training.module import LocalBranchTraining

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


def main() -> None:
    """Compare, time, print a table, and write it where asked."""
    options = arguments()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    ours, batch = example(options, device)
    plain = copy.deepcopy(ours)
    result: dict[str, object] = vars(options) | agreement(ours, plain, batch)
    result |= steps(options, ours, plain, batch, device)
    if options.references is not None:
        result |= {f"samples_per_second_{n}_workers": loaded(options, workers=n) for n in options.workers}
    for name, value in result.items():
        print(f"{name:32s} {value:.4g}" if isinstance(value, float) else f"{name:32s} {value}")
    if options.output is not None:
        Path(options.output).write_text(json.dumps(result, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image-size", type=int, default=320)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10, help="timed, of each formulation")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="of ours; plain is fp32")
    parser.add_argument("--references", help="a folder of good images: measure the loader on them")
    parser.add_argument("--kind", choices=[kind.value for kind in Kind], default="object")
    parser.add_argument("--textures", help="a DTD-style folder; without it textures are generated")
    parser.add_argument("--samples", type=int, default=64, help="drawn from the loader")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1], help="loader processes to measure")
    parser.add_argument("--output", help="a .json file")
    return parser.parse_args()


def example(options: argparse.Namespace, device: torch.device) -> tuple[LocalBranchTraining, Pair]:
    """A module with random weights, and a batch of smooth noise with a square defect."""
    backbone = Backbone(options.backbone, "random", [1, 2], image_size=options.image_size)
    torch.manual_seed(0)
    branch = LocalBranch(backbone.channels, options.dim)
    module = LocalBranchTraining(backbone, branch, TrainingSettings(), kind=Kind.object, window=3, seed=66)
    module.__dict__["log_dict"] = lambda *_, **__: None  # there is no trainer to log to
    size, cells = options.image_size, backbone.grid(0, options.image_size)
    noise = F.interpolate(torch.rand(2 * options.batch, 3, size // 16, size // 16), size=(size, size), mode="bilinear")
    query, reference = (noise * 255).to(torch.uint8).movedim(1, -1).contiguous().to(device).chunk(2)
    defect = torch.zeros(options.batch, size, size, dtype=torch.bool, device=device)
    defect[:, size // 4 : size // 2, size // 4 : size // 2] = True
    maps = [torch.rand(options.batch, cells, cells, device=device) for _ in range(2)]
    batch = Pair(query, reference, defect, maps[0], maps[1], torch.arange(options.batch))
    return module.to(device).train(), batch


def plain_loss(module: LocalBranchTraining, batch: Pair) -> Tensor:
    """Eq. 12 as it is written down."""
    settings, pairs, count = module.settings, module.draw_pairs(batch), len(batch.query)
    raws = module.backbone(torch.cat([batch.query, batch.reference]))
    losses = []
    for branch, raw in zip(module.branch.branches(), raws, strict=True):
        described = plain_descriptors(branch, raw)
        same, remote, defect = (
            F.cosine_similarity(
                _sampled(described[:count], sort.query), _sampled(described[count:], sort.reference), dim=1
            )
            for sort in pairs
        )
        apart = _sampled(raw[:count], pairs.remote.query) - _sampled(raw[count:], pairs.remote.reference)
        distance, valid = apart.square().sum(1) * pairs.remote.valid, pairs.remote.valid
        weight = distance / (distance.sum(1, keepdim=True) / valid.sum(1, keepdim=True).clamp(min=1)).clamp(min=1e-12)
        gained = (settings.positive_margin - same).clamp(min=0) * pairs.same.valid
        lost = torch.cat([remote, defect], 1) - settings.negative_margin
        lost = lost.clamp(min=0) * torch.cat([weight, pairs.defect.valid.float()], 1)
        negatives = (weight > 0).sum() + pairs.defect.valid.sum()
        losses.append(gained.pow(3).sum() / pairs.same.valid.sum() + lost.pow(3).sum() / negatives)
    return torch.stack(losses).sum()


def plain_descriptors(branch: ScaleBranch, raw: Tensor) -> Tensor:
    """(B, C, H, W) → (B, D, H, W), layer by layer."""

    def layer(part: ConvNorm, given: Tensor) -> Tensor:
        return F.relu(part.bn(part.conv(given)))

    block, reduced = branch.inception, layer(branch.reduce, raw)
    pooled = F.avg_pool2d(reduced, 3, stride=1, padding=1, count_include_pad=False)
    parts = [
        layer(block.one, reduced),
        layer(block.three, layer(block.three_reduce, reduced)),
        layer(block.one_again, reduced),
        layer(block.pool, pooled),
    ]
    return branch.project(torch.cat(parts, dim=1))


def _sampled(maps: Tensor, points: Tensor) -> Tensor:
    return F.grid_sample(maps, points.unsqueeze(1), align_corners=False).squeeze(2)


def agreement(ours: LocalBranchTraining, plain: LocalBranchTraining, batch: Pair) -> dict[str, object]:
    """How far losses and gradients are apart, in fp32.

    Raises:
        SystemExit: farther than rounding explains.
    """
    losses = ours.training_step(batch, 0), plain_loss(plain, batch)
    for loss in losses:
        loss.backward()
    apart = abs(losses[0].item() / losses[1].item() - 1)
    made, expected = (
        torch.cat(
            [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in m.branch.parameters()]
        )
        for m in (ours, plain)
    )
    gradient = ((made - expected).norm() / expected.norm()).item()
    if apart > 1e-4 or gradient > 1e-2:
        raise SystemExit(f"The formulations differ: loss by {apart:.2e}, gradient by {gradient:.2e} of its length.")
    return {"loss_apart": apart, "gradient_apart": gradient}


def steps(
    options: argparse.Namespace,
    ours: LocalBranchTraining,
    plain: LocalBranchTraining,
    batch: Pair,
    device: torch.device,
) -> dict[str, object]:
    """Milliseconds of a step (forward, backward, AdamW), the least and the median; interleaved."""
    low = torch.autocast(device.type, torch.bfloat16) if options.precision == "bf16" else nullcontext()

    def our_loss() -> Tensor:
        with low:
            return ours.training_step(batch, 0)

    runs = {
        "plain": _stepper(plain, lambda: plain_loss(plain, batch)),
        "ours": _stepper(ours, our_loss),
        "backbone": lambda: ours.backbone(torch.cat([batch.query, batch.reference])),
        "pairs": lambda: ours.draw_pairs(batch),
    }
    wall: dict[str, list[float]] = {name: [] for name in runs}
    busy: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(options.steps + 2):
        for name, run in runs.items():
            _wait(device)
            began, used = time.perf_counter(), time.process_time()
            run()
            _wait(device)
            if number >= 2:  # the first ones allocate
                wall[name].append((time.perf_counter() - began) * 1e3)
                busy[name].append((time.process_time() - used) * 1e3)
    result: dict[str, object] = {}
    for name, times in wall.items():
        result[f"{name}_ms"] = min(times)
        result[f"{name}_median_ms"] = sorted(times)[len(times) // 2]
        result[f"{name}_cpu_ms"] = min(busy[name])  # of all threads: tells more where other programs run
    result["plain_over_ours"] = min(wall["plain"]) / min(wall["ours"])
    result["plain_over_ours_cpu"] = min(busy["plain"]) / min(busy["ours"])
    return result


def _stepper(module: LocalBranchTraining, loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimiser = module.configure_optimizers()

    def step() -> None:
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()

    return step


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def loaded(options: argparse.Namespace, *, workers: int) -> float:
    """Training pairs a second, images being cached and worker processes started."""
    paths = sorted(path for path in Path(options.references).iterdir() if path.suffix.lower() in _SUFFIXES)
    kind = Kind(options.kind)
    settings = TrainingSettings(batch_size=options.batch, anomaly_sources=options.textures, workers=workers)
    samples = Samples("loader", kind, [Sample(path, None, 0, "good") for path in paths], [])
    batches = -(-options.samples // options.batch)
    data = PairDataModule(samples, settings, image_size=options.image_size, seed=66, steps=batches + 1)
    for row in range(len(paths)):
        data.images(row)
    neighbors = torch.arange(len(paths)).unsqueeze(1).add(torch.arange(1, 1 + min(10, len(paths) - 1))) % len(paths)
    cells = options.image_size // 4
    data.use_index(neighbors, torch.ones(len(paths), cells, cells) if kind is Kind.object else None)
    loader = iter(data.train_dataloader())
    next(loader)
    began = time.perf_counter()
    for _ in range(batches):
        next(loader)
    return batches * options.batch / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
