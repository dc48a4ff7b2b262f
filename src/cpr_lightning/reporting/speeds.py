"""``benchmark.json`` of a run: how fast it was, and where."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpr_lightning.errors import RunError
from cpr_lightning.files import read_json


@dataclass(frozen=True)
class Speed:
    """How fast a run scored images.

    Attributes:
        images_per_second: as the paper counts them, one after another.
        tensorrt: whether TensorRT computed the network, for which the paper has a column of its own.
        condition: what computed, and on what; speeds under different conditions are not comparable.
    """

    images_per_second: float
    tensorrt: bool
    condition: str


def read_speed(folder: Path, config: Mapping[str, Any] | None) -> Speed | None:
    """What ``cpr benchmark run=…`` left in a run; None where it did not.

    Args:
        folder: of the run.
        config: its settings, with dotted keys.

    Raises:
        RunError: the file is damaged, or not what the verb writes.
    """
    path = folder / "benchmark.json"
    if not path.is_file():
        return None
    content = read_json(path)
    try:
        speed = content["images_per_second"]
        if isinstance(speed, bool) or not 0 < speed < float("inf"):
            raise ValueError(f"images_per_second is {speed}")
        environment = content["environment"]
        if content["device"] == "cpu":
            machine = f"{environment['processor']}, {content['threads']} threads"
        else:
            machine = environment["gpu"]
        providers = (config or {}).get("onnx_providers") or []
        tensorrt = content["runtime"] == "onnx" and "TensorrtExecutionProvider" in providers[:1]
        runtime = "TensorRT" if tensorrt else content["runtime"]
        condition = f"{runtime} {content['precision']}, batch {content['batch']}, {machine}"
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} is not what `cpr benchmark` writes ({error!r}). Run `cpr benchmark` again.") from error
    return Speed(float(speed), tensorrt, condition)
