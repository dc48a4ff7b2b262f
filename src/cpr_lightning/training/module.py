"""Training the local branch."""

from collections.abc import Mapping
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.choices import Kind, Reading
from cpr_lightning.data.pairs import Pair
from cpr_lightning.errors import TrainingError
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.local_branch import LocalBranch, ScaleBranch
from cpr_lightning.model.postprocess import resize
from cpr_lightning.settings import TrainingSettings
from cpr_lightning.training.collective import processes, rank, total
from cpr_lightning.training.losses import pair_loss, remote_weight
from cpr_lightning.training.pixel_pairs import Part, PixelPairs, draw_pixel_pairs, remote_threshold, to_cells
from cpr_lightning.training.points import Corners, corners, read
from cpr_lightning.training.sampled_trunk import sampled_trunk


class LocalBranchTraining(lightning.LightningModule):
    """Metric learning on pixel pairs; only the local branch learns, and only it is checkpointed.

    Args:
        backbone: frozen.
        branch: what is trained.
        settings: of training.
        kind: object or texture; decides about remote pairs where the settings leave it open.
        window: cells on a side of the finest scale's window; with its stride it says how far "remote" is.
        seed: of the run.
    """

    def __init__(
        self,
        backbone: Backbone,
        branch: LocalBranch,
        settings: TrainingSettings,
        *,
        kind: Kind,
        window: int,
        seed: int,
    ) -> None:
        super().__init__()
        # The backbone's weights are not this run's to keep: a checkpoint without them may be loaded.
        self.strict_loading = False
        self.backbone = backbone
        self.branch = branch
        self.settings = settings
        self.seed = seed
        remote = settings.remote if settings.remote is not None else kind is Kind.object
        self.remote_distance = remote_threshold(backbone.strides[0], window) if remote else None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW without a schedule."""
        return torch.optim.AdamW(
            self.branch.parameters(), lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay
        )

    def training_step(self, batch: Pair, batch_idx: int) -> Tensor:
        """Eq. 12, summed over the scales.

        Where several processes share a batch, each has its part of the sum, with the statistics and the number of pairs
        of all: the gradients' sum over the processes is that of one process with the whole batch.
        """
        del batch_idx
        pairs = self.draw_pairs(batch)
        # Query and reference in one batch, so that batch norm sees both alike.
        raw = self.backbone(torch.cat([batch.query, batch.reference]))
        terms = [
            self.scale_loss(branch, features, pairs)
            for branch, features in zip(self.branch.branches(), raw, strict=True)
        ]
        positive = torch.stack([term[0] for term in terms]).sum()
        negative = torch.stack([term[1] for term in terms]).sum()
        own = positive + negative
        # Of the whole batch, so that all processes log the same, and stop together.
        positive, negative = total(torch.stack([positive, negative]))
        loss = positive + negative
        if not torch.isfinite(loss):
            raise TrainingError(
                f"The loss is {loss.item()} at step {self.global_step}. Go on from the last checkpoint, whose loss was "
                f"finite, with a smaller learning rate than {self.settings.learning_rate:g}: "
                "cpr train resume=RUN_DIR training.learning_rate=…"
            )
        self.log_dict({"loss": loss, "loss_same": positive, "loss_different": negative}, prog_bar=True)
        # Lightning's mean over the processes makes the sum of it.
        return own * processes()

    def draw_pairs(self, batch: Pair) -> PixelPairs:
        """Algorithm 1 on a batch; the draw depends on the seed and the number of the batch's first pair alone, and a
        process with a part of the batch draws the pairs that a single one would draw for it.
        """
        part = Part(rank() * len(batch.number), processes() * len(batch.number))
        generator = torch.Generator(batch.defect.device)
        state = np.random.SeedSequence((self.seed, int(batch.number[0]) - part.first)).generate_state(2)
        generator.manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)
        defect, distance = batch.defect, self.remote_distance
        size = defect.shape[1:]
        foreground = None
        if batch.has_foreground:
            either = torch.maximum(batch.query_foreground, batch.reference_foreground)
            foreground = resize(either.unsqueeze(1), size).squeeze(1)
        if self.settings.pair_points is Reading.paper:
            stride = self.backbone.strides[0]
            defect, foreground = to_cells(defect, foreground, self.backbone.grid(0, size[0]))
            distance = None if distance is None else distance / stride
        return draw_pixel_pairs(
            defect, foreground, self.settings.pairs, remote_distance=distance, generator=generator, part=part
        )

    def scale_loss(self, branch: ScaleBranch, raw: Tensor, pairs: PixelPairs) -> tuple[Tensor, Tensor]:
        """The positive and the negative term of one scale.

        Args:
            branch: of this scale.
            raw: (2B, C, h, w), queries then references.
            pairs: of the batch.
        """
        # One reading, one projection for all points of all sorts; the order is (same, remote, defect) on either side.
        points = torch.cat(
            [torch.cat([part.query for part in pairs], dim=1), torch.cat([part.reference for part in pairs], dim=1)]
        )
        at = corners(points, *raw.shape[2:])
        # The cosine does not mind that a border point is read at less than full weight, as long as the projection's
        # bias is weighted with it: so all are read at full weight.
        described = branch.describe(sampled_trunk(branch, raw, at.inside()).transpose(1, 2)).float()
        same, remote, defect = F.cosine_similarity(*described.chunk(2), dim=1).chunk(3, dim=1)
        count = pairs.remote.query.shape[1]
        seen = read(raw.float(), Corners(at.cell[:, count : 2 * count], at.weight[:, count : 2 * count])).transpose(
            1, 2
        )
        seen_query, seen_reference = seen.chunk(2)
        weight = remote_weight(seen_query, seen_reference, pairs.remote.valid, self.settings.remote_weight)
        return pair_loss(
            same,
            pairs.same.valid.float(),
            torch.cat([remote, defect], dim=1),
            torch.cat([weight, pairs.defect.valid.float()], dim=1),
            positive_margin=self.settings.positive_margin,
            negative_margin=self.settings.negative_margin,
            power=self.settings.power,
            reading=self.settings.loss,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the frozen backbone out."""
        checkpoint["state_dict"] = _without_backbone(checkpoint["state_dict"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another branch; Lightning itself would skip what does not fit."""
        held = checkpoint["state_dict"]
        for name, value in _without_backbone(self.state_dict()).items():
            if name not in held or held[name].shape != value.shape:
                found = tuple(held[name].shape) if name in held else "missing"
                raise TrainingError(
                    f"The checkpoint does not fit the settings: {name} is {found}, not {tuple(value.shape)}. Resume "
                    "with the settings that the run was started with, or start a new run."
                )
        for optimizer in checkpoint.get("optimizer_states", []):
            for group in optimizer["param_groups"]:
                # These may be changed on the way: a rate that was too high is a reason to resume with a lower one.
                group["lr"], group["weight_decay"] = self.settings.learning_rate, self.settings.weight_decay


def _without_backbone(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if not name.startswith("backbone.")}
