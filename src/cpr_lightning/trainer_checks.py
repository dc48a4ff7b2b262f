"""What ``trainer.…`` may say about processes and devices; its other keys are Lightning's to check."""

from typing import Any

from cpr_lightning.settings import Settings

SPAWN = "ddp_spawn"  # the strategy in conf/trainer/ddp.yaml


def device_count(asked: Any) -> int | None:
    """How many devices ``trainer.devices`` names; None for ``auto``, which the machine decides.

    Raises:
        ValueError: it is neither a number, nor a list of numbers, nor ``auto``.
    """
    if asked == "auto":
        return None
    numbers = asked if isinstance(asked, list) else [asked]
    if not numbers or any(isinstance(each, bool) or not isinstance(each, int) or each < 0 for each in numbers):
        raise ValueError
    count = len(asked) if isinstance(asked, list) else asked
    if count < 1 or (isinstance(asked, list) and len(set(asked)) < len(asked)):
        raise ValueError
    return count


def trainer_problem(settings: Settings) -> str | None:
    """The first thing that is wrong, as a sentence, or None."""
    trainer = settings.trainer
    strategy, devices, nodes = (trainer.get(key, usual) for key, usual in _USUAL.items())
    try:
        count = device_count(devices)
    except ValueError:
        return (
            f"trainer.devices={devices} must be a number of devices, a list such as [0,2] of different ones, or auto."
        )
    if nodes != 1:
        return f"trainer.num_nodes={nodes}: one training runs on one machine. Spread the runs of a sweep instead."
    if strategy not in ("auto", SPAWN):
        return (
            f"trainer.strategy={strategy} cannot be used: Lightning would start the whole command once for every "
            "device. Take trainer=ddp, which starts processes for the training alone."
        )
    if strategy == "auto":
        return None if count == 1 else f"trainer.devices={devices} goes with trainer=ddp, which shares every batch."
    if ":" in settings.device:
        return (
            f"device={settings.device} names one GPU. With trainer=ddp say device=cuda trainer.devices=[0,1], or "
            "whichever are meant."
        )
    if settings.device == "cpu" and isinstance(devices, list):
        return f"trainer.devices={devices} names GPUs; with device=cpu it is a number of processes."
    return None if count is None else batch_problem(settings, count)


def batch_problem(settings: Settings, count: int) -> str | None:
    """Whether ``count`` processes can share a batch."""
    size = settings.training.batch_size
    if size % count == 0:
        return None
    return f"training.batch_size={size} cannot be shared equally by {count} processes: make it a multiple of {count}."


_USUAL = {"strategy": "auto", "devices": 1, "num_nodes": 1}
