"""The cascade and its parts, put together as the settings say."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cpr_lightning.environment import choose_device
from cpr_lightning.errors import SettingsError
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.cascade import CascadePatchRetrieval
from cpr_lightning.model.foreground import Foreground
from cpr_lightning.model.global_retrieval import GlobalRetrieval
from cpr_lightning.model.index import ReferenceIndex
from cpr_lightning.model.local_branch import LocalBranch
from cpr_lightning.model.network import LocalFeatures
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.runtime.choosing import use_runtime
from cpr_lightning.settings import Settings


def create_backbone(settings: Settings) -> Backbone:
    """The frozen backbone that the settings name."""
    chosen = settings.backbone
    return Backbone(
        chosen.name,
        chosen.weights,
        chosen.layers,
        strides=chosen.strides,
        seed=settings.seed,
        statistics=chosen.statistics,
        image_size=settings.image_size,
    )


def create_branch(settings: Settings, backbone: Backbone) -> LocalBranch | None:
    """A local branch with weights of the run's seed, or None (ablation no_local)."""
    if not settings.branch.enabled:
        return None
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        return LocalBranch(backbone.channels, settings.branch.dim)


def feature_shapes(settings: Settings, backbone: Backbone) -> list[tuple[int, int, int]]:
    """(H, W, D) of the bank's features, per scale."""
    grids = [backbone.grid(layer, settings.image_size) for layer in range(len(backbone.channels))]
    dims = backbone.channels if not settings.branch.enabled else [settings.branch.dim] * len(grids)
    return [(grid, grid, dim) for grid, dim in zip(grids, dims, strict=True)]


def assemble(
    settings: Settings,
    features: LocalFeatures,
    index: ReferenceIndex,
    bank: ReferenceBank,
    coreset: Sequence[Tensor] | None = None,
) -> CascadePatchRetrieval:
    """The cascade from its parts; ``coreset`` is that of the bank, where ``retrieval.search`` asks for one."""
    foreground = None
    if index.foreground_weight is not None and index.foreground_bias is not None:
        foreground = Foreground(index.foreground_weight, index.foreground_bias)
    retrieval = settings.retrieval
    return CascadePatchRetrieval(
        features,
        GlobalRetrieval(index.codebook, index.histograms, retrieval.ignored_blocks, retrieval.divergence),
        bank,
        foreground,
        index.foreground_maps,
        neighbors=retrieval.neighbors,
        windows=retrieval.windows,
        scoring=settings.scoring,
        search=retrieval.search,
        coreset=coreset,
    )


def bank_device(settings: Settings, device: torch.device) -> torch.device:
    """Where the bank's codes lie, for a cascade that computes on ``device``.

    Raises:
        SettingsError: the kernel of that device could not read them there.
    """
    asked = settings.bank.device
    if asked == "auto":
        return device
    chosen = choose_device(asked, "bank.device")
    if chosen.type == "cuda" and device.type != "cuda":
        raise SettingsError(
            f"bank.device={asked} goes with device=cuda, not with device={device}. Take bank.device=auto."
        )
    return chosen


def ready(cascade: CascadePatchRetrieval, settings: Settings, device: torch.device) -> CascadePatchRetrieval:
    """Put a cascade and its bank where they are to compute, with the runtime that the settings name."""
    cascade.to(device)
    cascade.bank.place(bank_device(settings, device))
    use_runtime(
        cascade,
        settings.runtime,
        settings.precision,
        device,
        image_size=settings.image_size,
        onnx_providers=settings.onnx_providers,
    )
    return cascade
