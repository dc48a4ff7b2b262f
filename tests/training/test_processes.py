"""Processes that train together: their gradients are one process's, and where one fails, none goes on."""

import time
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.choices import Kind, Reading
from cpr_lightning.data.pairs import Pair
from cpr_lightning.errors import DataError, SettingsError
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.local_branch import LocalBranch
from cpr_lightning.settings import Settings, TrainingSettings
from cpr_lightning.trainer_checks import SPAWN
from cpr_lightning.training.collective import mean, processes, rank, total
from cpr_lightning.training.module import LocalBranchTraining
from cpr_lightning.training.processes import process_count, run_processes

CPU = torch.device("cpu")
SIZE = 64


def batch_of(first: int, count: int) -> Pair:
    """Images ``first`` to ``first + count`` of a batch of four, whose first pair is number 20."""
    generator = torch.Generator().manual_seed(11)
    pictures = torch.rand(8, 3, 8, 8, generator=generator) * torch.linspace(0.2, 1, 8).view(-1, 1, 1, 1)
    pixels = (F.interpolate(pictures, size=(SIZE, SIZE), mode="bilinear") * 255).to(torch.uint8).movedim(1, -1)
    defect = torch.zeros(4, SIZE, SIZE, dtype=torch.bool)
    defect[0, 10:30, 10:30] = True
    defect[1, 40:43, 5:9] = True  # fewer than the pairs that are asked for, and none on the others
    maps = torch.rand(2, 4, 16, 16, generator=generator)
    own = slice(first, first + count)
    return Pair(pixels[:4][own], pixels[4:][own], defect[own], maps[0, own], maps[1, own], torch.arange(20, 24)[own])


def learn(backbone: Backbone, folder: Path) -> None:
    """One step on this process's part of the batch, as Lightning does it; what it made goes to a file."""
    torch.manual_seed(3)
    branch = LocalBranch(backbone.channels, 16)
    settings = TrainingSettings(pairs=40)
    module = LocalBranchTraining(backbone, branch, settings, kind=Kind.object, window=3, seed=66).train()
    logged: dict[str, Tensor] = {}

    def log(values: dict[str, Tensor], **options: object) -> None:
        del options
        logged.update(values)

    module.log_dict = log  # pyright: ignore[reportAttributeAccessIssue]
    share = 4 // processes()
    module.training_step(batch_of(rank() * share, share), 0).backward()
    made = {f"gradient.{name}": mean(value.grad) for name, value in branch.named_parameters() if value.grad is not None}
    made |= {name: value.float() for name, value in branch.named_buffers()}
    made |= {name: value.detach() for name, value in logged.items()}
    save_file({name: value.contiguous() for name, value in made.items()}, folder / f"{rank()}.safetensors")


@pytest.mark.slow
def test_two_processes_with_half_a_batch_have_the_gradients_of_one_with_all_of_it(tmp_path: Path):
    backbone = Backbone("resnet18", "random", [1, 2], statistics=Reading.paper)
    (tmp_path / "whole").mkdir()
    learn(backbone, tmp_path / "whole")
    run_processes(2, CPU, partial(learn, backbone, tmp_path))
    whole = load_file(tmp_path / "whole" / "0.safetensors")
    largest = max(value.abs().max().item() for name, value in whole.items() if name.startswith("gradient."))
    for number in (0, 1):
        found = load_file(tmp_path / f"{number}.safetensors")
        assert found.keys() == whole.keys()
        for name, value in whole.items():
            # A bias before a batch norm has no gradient but rounding.
            scale = max(value.abs().max().item(), 0.01 * largest if name.startswith("gradient.") else 0)
            assert (found[name] - value).abs().max().item() <= 1e-4 * scale, name


def wait_in_vain() -> None:
    """The second process has bad news; the first one waits for it."""
    if rank() == 1:
        raise DataError("image.png is gone.")
    dist.barrier()
    time.sleep(600)


@pytest.mark.slow
def test_what_one_process_raises_ends_all():
    started = time.monotonic()
    with pytest.raises(DataError, match=r"^image\.png is gone\.$"):
        run_processes(2, CPU, wait_in_vain)
    assert time.monotonic() - started < 120


def test_alone_nothing_is_summed():
    value = torch.tensor([1.0, 2.0], requires_grad=True)
    assert (processes(), rank()) == (1, 0)
    assert total(value) is value
    assert mean(value) is value


@pytest.mark.parametrize(
    ("trainer", "count"), [({}, 0), ({"strategy": SPAWN}, 1), ({"strategy": SPAWN, "devices": 4}, 4)]
)
def test_processes_are_counted(trainer: dict[str, object], count: int):
    assert process_count(Settings(device="cpu", trainer=trainer), CPU) == count


@pytest.mark.parametrize(("devices", "said"), [([0, 3], "it has 3"), (4, "it has 3"), ("auto", "multiple of 3")])
def test_gpus_that_are_not_there_or_cannot_share_a_batch(devices: object, said: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    settings = Settings(device="cuda", trainer={"strategy": SPAWN, "devices": devices})
    with pytest.raises(SettingsError, match=said):
        process_count(settings, torch.device("cuda"))
