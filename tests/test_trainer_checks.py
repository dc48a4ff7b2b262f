"""What is said about processes and devices is refused before any work, with a sentence that names the key."""

from typing import Any

import pytest

from cpr_lightning.settings import Settings, TrainingSettings
from cpr_lightning.trainer_checks import SPAWN, device_count, trainer_problem


def settings(device: str = "cpu", batch_size: int = 32, **trainer: Any) -> Settings:
    return Settings(device=device, training=TrainingSettings(batch_size=batch_size), trainer=trainer)


@pytest.mark.parametrize(("asked", "count"), [(1, 1), (3, 3), ([0, 2], 2), ("auto", None)])
def test_devices_are_counted(asked: Any, count: int | None):
    assert device_count(asked) == count


@pytest.mark.parametrize("asked", [0, -1, [], [0, 0], [0, "1"], "2", 1.5, True, None])
def test_what_names_no_devices_is_refused(asked: Any):
    assert str(trainer_problem(settings(strategy=SPAWN, devices=asked))).startswith(f"trainer.devices={asked} must be")


@pytest.mark.parametrize(
    "accepted",
    [
        settings(),
        settings(devices=1, num_nodes=1),
        settings(strategy=SPAWN, devices=2),
        settings("cuda", strategy=SPAWN, devices=[1, 3]),
        settings("auto", strategy=SPAWN, devices="auto"),
    ],
)
def test_what_works_is_accepted(accepted: Settings):
    assert trainer_problem(accepted) is None


@pytest.mark.parametrize(
    ("refused", "named"),
    [
        (settings(devices=2), ["trainer.devices=2", "trainer=ddp"]),
        (settings(strategy="ddp"), ["trainer.strategy=ddp", "trainer=ddp"]),
        (settings(strategy=SPAWN, devices=2, num_nodes=2), ["trainer.num_nodes=2"]),
        (settings(batch_size=32, strategy=SPAWN, devices=3), ["training.batch_size=32", "multiple of 3"]),
        (settings("cuda:1", strategy=SPAWN, devices=2), ["device=cuda:1", "trainer.devices=[0,1]"]),
        (settings("cpu", strategy=SPAWN, devices=[0, 1]), ["trainer.devices=[0, 1]", "number of processes"]),
    ],
)
def test_what_cannot_work_is_refused(refused: Settings, named: list[str]):
    problem = trainer_problem(refused)
    assert problem is not None
    for each in named:
        assert each in problem
