"""A training step, its pairs, its checkpoints, and a short training."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.choices import Kind, Reading
from cpr_lightning.data.datamodule import PairDataModule
from cpr_lightning.data.pairs import Pair
from cpr_lightning.data.samples import Sample, Samples
from cpr_lightning.errors import TrainingError
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.local_branch import LocalBranch
from cpr_lightning.settings import ForegroundSettings, RetrievalSettings, TrainingSettings
from cpr_lightning.training.building import IndexSettings
from cpr_lightning.training.indexing import OfflineIndex
from cpr_lightning.training.module import LocalBranchTraining
from cpr_lightning.training.pixel_pairs import PixelPairs, Points

SIZE = 64


def module_of(backbone: Backbone, kind: Kind = Kind.object, seed: int = 66, **settings: Any) -> LocalBranchTraining:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        branch = LocalBranch(backbone.channels, 16)
    given: dict[str, Any] = {"pairs": 40} | settings
    wanted = TrainingSettings(**given)
    module = LocalBranchTraining(backbone, branch, wanted, kind=kind, window=3, seed=seed)
    return module.train()


def batch_of(count: int = 3, number: int = 0, *, foreground: bool = True) -> Pair:
    generator = torch.Generator().manual_seed(11)
    pictures = torch.rand(2 * count, 3, 8, 8, generator=generator)
    pixels = (F.interpolate(pictures, size=(SIZE, SIZE), mode="bilinear") * 255).to(torch.uint8).movedim(1, -1)
    defect = torch.zeros(count, SIZE, SIZE, dtype=torch.bool)
    defect[0, 10:30, 10:30] = True
    defect[1, 40:43, 5:9] = True  # fewer than the pairs that are asked for
    maps = torch.rand(2 * count, 16, 16, generator=generator) if foreground else torch.empty(2 * count, 0, 0)
    return Pair(
        query=pixels[:count].contiguous(),
        reference=pixels[count:].contiguous(),
        defect=defect,
        query_foreground=maps[:count],
        reference_foreground=maps[count:],
        number=torch.arange(number, number + count),
    )


def step(module: LocalBranchTraining, batch: Pair) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, and what was logged."""
    logged: dict[str, Any] = {}

    def log(values: dict[str, Any], **options: object) -> None:
        del options
        logged.update(values)

    module.log_dict = log  # pyright: ignore[reportAttributeAccessIssue]
    return module.training_step(batch, 0), logged


def plain_loss(module: LocalBranchTraining, batch: Pair) -> tuple[Tensor, Tensor]:
    """Both terms with whole maps projected, every sort of pair on its own, and nothing shared."""
    settings, pairs, count = module.settings, module.draw_pairs(batch), len(batch.query)
    raws = module.backbone(torch.cat([batch.query, batch.reference]))

    def read(maps: Tensor, sort: Points) -> tuple[Tensor, Tensor]:
        query = F.grid_sample(maps[:count], sort.query.unsqueeze(1), align_corners=False)
        reference = F.grid_sample(maps[count:], sort.reference.unsqueeze(1), align_corners=False)
        return query.squeeze(2), reference.squeeze(2)

    positive, negative = torch.zeros(()), torch.zeros(())
    for branch, raw in zip(module.branch.branches(), raws, strict=True):
        made = branch.project(branch.trunk(raw))
        same, remote, defect = (F.cosine_similarity(*read(made, sort), dim=1) for sort in pairs)
        query, reference = read(raw, pairs.remote)
        distance, valid = (query - reference).square().sum(1), pairs.remote.valid
        weight = distance / ((distance * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True))
        gained = (settings.positive_margin - same).clamp(min=0)[pairs.same.valid]
        lost_remote = ((remote - settings.negative_margin).clamp(min=0) * weight)[valid]
        lost_defect = (defect - settings.negative_margin).clamp(min=0)[pairs.defect.valid]
        positive = positive + gained.pow(3).mean()
        negative = negative + torch.cat([lost_remote, lost_defect]).pow(3).mean()
    return positive, negative


def gradients(module: LocalBranchTraining, loss: Tensor) -> dict[str, Tensor]:
    module.zero_grad()
    loss.backward()
    found = {name: value.grad.clone() for name, value in module.branch.named_parameters() if value.grad is not None}
    assert set(found) == {name for name, _ in module.branch.named_parameters()}
    return found


def test_loss_and_gradient_are_those_of_the_plain_formulation(small_backbone: Backbone):
    module, batch = module_of(small_backbone), batch_of()
    loss, logged = step(module, batch)
    made = gradients(module, loss)
    positive, negative = plain_loss(module, batch)
    torch.testing.assert_close(logged["loss_same"], positive, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(logged["loss_different"], negative, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(loss, positive + negative, rtol=1e-4, atol=1e-6)
    assert positive > 0
    assert negative > 0
    expected = gradients(module, positive + negative)
    largest = max(gradient.abs().max().item() for gradient in expected.values())
    for name, gradient in expected.items():
        # A bias before a batch norm has no gradient but rounding.
        scale = max(gradient.abs().max().item(), 0.01 * largest)
        assert (made[name] - gradient).abs().max().item() < 1e-3 * scale, name


def test_only_the_branch_learns(small_backbone: Backbone):
    module = module_of(small_backbone)
    before = small_backbone.fingerprint
    optimiser = module.configure_optimizers()
    assert isinstance(optimiser, torch.optim.AdamW)
    learned = {id(value) for group in optimiser.param_groups for value in group["params"]}
    assert learned == {id(value) for value in module.branch.parameters()}
    assert optimiser.param_groups[0]["lr"] == 1e-3
    assert optimiser.param_groups[0]["weight_decay"] == 1e-2
    batch = batch_of()
    first, _ = step(module, batch)
    for _ in range(8):
        optimiser.zero_grad()
        loss, _ = step(module, batch)
        loss.backward()
        optimiser.step()
    assert step(module, batch)[0] < 0.9 * first
    assert small_backbone.fingerprint == before
    assert not small_backbone.training


def all_points(pairs: PixelPairs) -> list[Tensor]:
    return [value for sort in pairs for value in sort]


def test_the_pairs_depend_on_seed_and_number_alone(small_backbone: Backbone):
    first = all_points(module_of(small_backbone).draw_pairs(batch_of()))
    torch.manual_seed(12345)
    again = all_points(module_of(small_backbone).draw_pairs(batch_of()))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], module_of(small_backbone).draw_pairs(batch_of(number=3)).same.query)
    assert not torch.equal(first[0], module_of(small_backbone, seed=67).draw_pairs(batch_of()).same.query)


@pytest.mark.parametrize(
    ("kind", "remote", "drawn"),
    [
        (Kind.object, None, True),
        (Kind.texture, None, False),
        (Kind.object, False, False),
        (Kind.texture, True, True),
    ],
)
def test_remote_pairs_are_for_objects_unless_asked_otherwise(
    small_backbone: Backbone, kind: Kind, remote: bool | None, drawn: bool
):
    pairs = module_of(small_backbone, kind, remote=remote).draw_pairs(batch_of())
    assert pairs.remote.valid.any().item() is drawn
    if drawn:
        apart = ((pairs.remote.query - pairs.remote.reference) * SIZE / 2).norm(dim=-1)[pairs.remote.valid]
        assert apart.min() > 4 * 2**0.5


def test_same_pairs_follow_the_larger_of_the_two_foregrounds(small_backbone: Backbone):
    batch = batch_of()
    batch.query_foreground = torch.zeros(3, 16, 16)
    batch.reference_foreground = torch.zeros(3, 16, 16)
    batch.query_foreground[:, 12:, :4] = 1
    batch.reference_foreground[:, 12:, 12:] = 1
    points = module_of(small_backbone).draw_pairs(batch).same
    x, y = points.query[points.valid].T
    assert (y > 0.4).all()
    assert (x.abs() > 0.4).all()
    assert 0.2 < (x < 0).float().mean() < 0.8


def test_the_papers_points_are_feature_cells(small_backbone: Backbone):
    module = module_of(small_backbone, pair_points=Reading.paper)
    pairs = module.draw_pairs(batch_of())
    for sort in pairs:
        cells = (sort.query + 1) * 8 - 0.5
        torch.testing.assert_close(cells, cells.round(), rtol=0, atol=1e-4)
    apart = ((pairs.remote.query - pairs.remote.reference) * 8).norm(dim=-1)[pairs.remote.valid]
    assert apart.min() > 2**0.5  # θ in cells
    loss, _ = step(module, batch_of())
    assert torch.isfinite(loss)


def test_textures_without_foreground_can_be_learned_from(small_backbone: Backbone):
    loss, logged = step(module_of(small_backbone, Kind.texture), batch_of(foreground=False))
    assert loss.item() > 0
    assert logged["loss_different"].item() > 0  # of the defect pairs


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_training_with_what_to_do(small_backbone: Backbone, value: float):
    module = module_of(small_backbone)
    with torch.no_grad():
        module.branch.branches()[0].project.weight.fill_(value)
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) at step 0.*learning rate than 0\.001.*resume="):
        step(module, batch_of())


def test_the_backbone_stays_out_of_checkpoints(small_backbone: Backbone):
    module = module_of(small_backbone)
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}
    assert any(name.startswith("backbone.") for name in checkpoint["state_dict"])
    module.on_save_checkpoint(checkpoint)
    assert set(checkpoint["state_dict"]) == {f"branch.{name}" for name in module.branch.state_dict()}
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint["state_dict"], strict=module.strict_loading)


def test_a_checkpoint_of_another_branch_is_refused(small_backbone: Backbone):
    module = module_of(small_backbone)
    whole = {f"branch.{name}": value for name, value in module.branch.state_dict().items()}
    fewer = {name: value for name, value in whole.items() if "scale2" not in name}
    other = whole | {"branch.scale1.project.weight": torch.zeros(8, 256, 1, 1)}
    with pytest.raises(TrainingError, match=r"branch\.scale2\..* is missing.*new run"):
        module.on_load_checkpoint({"state_dict": fewer})
    with pytest.raises(
        TrainingError, match=r"branch\.scale1\.project\.weight is \(8, 256, 1, 1\), not \(16, 256, 1, 1\)"
    ):
        module.on_load_checkpoint({"state_dict": other})


def fit(
    backbone: Backbone, paths: list[Path], folder: Path, steps: int, checkpoint: Path | None = None
) -> LocalBranchTraining:
    """A whole, tiny training; checkpoints go to ``folder``."""
    settings = TrainingSettings(batch_size=4, pairs=20, workers=0)
    samples = Samples("part", Kind.object, [Sample(path, None, 0, "good") for path in paths], [])
    data = PairDataModule(samples, settings, image_size=SIZE, seed=66, steps=steps)
    retrieval = RetrievalSettings(neighbors=3, codebook_vectors=500, codebook_restarts=1)
    index = OfflineIndex(IndexSettings(retrieval, ForegroundSettings()), folder.parent / "cache", torch.device("cpu"))
    keep = ModelCheckpoint(dirpath=folder, save_last=True, every_n_train_steps=1, save_top_k=0)
    module = module_of(backbone, batch_size=4, pairs=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on loader workers and the like
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_steps=steps,
            max_epochs=-1,
            logger=False,
            callbacks=[index, keep],
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    assert trainer.global_step == steps
    return module


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(
    small_backbone: Backbone, write_parts: Callable[..., list[Path]], tmp_path: Path
):
    paths = write_parts(5)
    whole = fit(small_backbone, paths, tmp_path / "whole", 4)
    fit(small_backbone, paths, tmp_path / "part", 2)
    last = tmp_path / "part" / "last.ckpt"
    content = torch.load(last, weights_only=True)  # nothing in it is code
    assert content["global_step"] == 2
    assert not any(name.startswith("backbone.") for name in content["state_dict"])
    resumed = fit(small_backbone, paths, tmp_path / "part", 4, checkpoint=last)
    start = module_of(small_backbone).branch.state_dict()
    for name, value in whole.branch.state_dict().items():
        torch.testing.assert_close(resumed.branch.state_dict()[name], value, rtol=1e-5, atol=1e-7)
    assert not torch.equal(start["scale1.project.weight"], whole.branch.state_dict()["scale1.project.weight"])
