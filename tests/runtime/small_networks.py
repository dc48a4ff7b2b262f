"""Small network parts and cascades with random weights."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from cpr_lightning.choices import Codec, Reading
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.cascade import CascadePatchRetrieval
from cpr_lightning.model.foreground import Foreground
from cpr_lightning.model.global_retrieval import GlobalRetrieval, assign_codes, block_histograms
from cpr_lightning.model.local_branch import LocalBranch
from cpr_lightning.model.network import LocalFeatures, NetworkPart
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.settings import ScoringSettings

SIZE = 64


def pictures(count: int, seed: int) -> Tensor:
    """(count, 64, 64, 3) uint8: coloured noise in blocks of 4 × 4 pixels, each image in its own colours."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, SIZE // 4, SIZE // 4, 3)) * rng.random((count, 1, 1, 3))
    return torch.from_numpy(coarse.astype(np.uint8)).repeat_interleave(4, 1).repeat_interleave(4, 2)


def part_of(backbone: Backbone, *, branch: bool = True, foreground: bool = True) -> NetworkPart:
    """A network part whose words are raw features of pictures, and whose foreground goes through all of [0, 1]."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.no_grad():
        torch.manual_seed(5)
        features = LocalFeatures(backbone, LocalBranch(backbone.channels, 16) if branch else None).eval()
        raw = backbone(pictures(3, 1))[0]
        cells = raw.movedim(1, -1).flatten(0, 2)
        codebook = cells[torch.randperm(len(cells))[:12]].clone()
        weight = torch.randn(backbone.channels[0])
        decision = cells @ weight
        weight, bias = weight / (3 * decision.std()), 0.5 - decision.mean() / (3 * decision.std())
        product = Foreground(weight, bias) if foreground else None
        return NetworkPart(features, codebook, product).eval().requires_grad_(False)


def unusual_part(name: str) -> NetworkPart:
    """A network part on a backbone of another family."""
    return part_of(Backbone(name, "random", statistics=Reading.paper, image_size=SIZE))


def cascade_of(part: NetworkPart) -> CascadePatchRetrieval:
    """A cascade with that network part and seven references."""
    references = pictures(7, 2)
    with torch.inference_mode():
        raw, local = part.features(references)
        bank = ReferenceBank([(each.shape[2], each.shape[3], each.shape[1]) for each in local], Codec.fp16)
        bank.add(local)
        retrieval = GlobalRetrieval(part.codebook, block_histograms(assign_codes(raw, part.codebook), 12, 5))
        maps = None if part.foreground is None else part.foreground(raw)
    return CascadePatchRetrieval(
        part.features,
        retrieval,
        bank,
        part.foreground,
        maps,
        neighbors=3,
        windows=[3, 1],
        scoring=ScoringSettings(top_pixels=100, blur_sigma=2.0),
    )


def assert_same(
    part: NetworkPart, run: Callable[[Tensor], Sequence[Tensor]], images: Tensor, foreground: float
) -> None:
    """What ``run`` says in fp32 of the images is what the network part says in torch."""
    with torch.inference_mode():
        expected, made = part.named(part(images)), part.named(run(images))
    check_layout(part, made.codes, made.local, images)
    assert len(made.local) == len(expected.local)
    for one, other in zip(made.local, expected.local, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    assert (made.codes != expected.codes).float().mean() < 0.002
    assert (made.foreground is None) == (expected.foreground is None)
    if made.foreground is not None and expected.foreground is not None:
        torch.testing.assert_close(made.foreground, expected.foreground, rtol=0, atol=foreground)


def assert_close(part: NetworkPart, run: Callable[[Tensor], Sequence[Tensor]], images: Tensor) -> None:
    """What ``run`` says in bf16 of the images is about what the network part says in fp32, and not the same."""
    with torch.inference_mode():
        expected, made = part.named(part(images)), part.named(run(images))
    check_layout(part, made.codes, made.local, images)
    for one, other in zip(made.local, expected.local, strict=True):
        assert (one * other).sum(-1).min() >= 0.99
        assert not torch.equal(one, other)
    assert (made.codes != expected.codes).float().mean() < 0.03
    if made.foreground is not None and expected.foreground is not None:
        torch.testing.assert_close(made.foreground, expected.foreground, rtol=0, atol=0.05)


def check_layout(part: NetworkPart, codes: Tensor, local: Sequence[Tensor], images: Tensor) -> None:
    """The contract of the network part's outputs on a CPU, but for their values."""
    grids = [SIZE // stride for stride in part.features.backbone.strides]
    assert codes.dtype == torch.int64
    assert codes.shape == (len(images), grids[0], grids[0])
    assert codes.unique().numel() > 3  # else codes would be equal whatever is computed
    for scale, grid in zip(local, grids, strict=True):
        assert scale.shape[:3] == (len(images), grid, grid)
        assert scale.dtype == torch.float32
        assert scale.is_contiguous()
        # Of unit length as float32 has it, also where the network is computed in bf16.
        torch.testing.assert_close(scale.norm(dim=-1), torch.ones(scale.shape[:3]), rtol=0, atol=1e-5)
