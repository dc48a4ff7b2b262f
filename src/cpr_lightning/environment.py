"""Where and with what a run was made."""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import cpr_lightning
from cpr_lightning.errors import SettingsError

_PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "timm",
    "faiss-gpu",
    "faiss-cpu",
    "numba",
    "triton",
    "openvino",
    "onnxruntime",
    "albumentations",
    "numpy",
    "opencv-python-headless",
)


def describe_environment(command: Sequence[str] | None = None) -> dict[str, object]:
    """Machine, versions and command (None: that of this process), for ``environment.json``."""
    return {
        "cpr_lightning": cpr_lightning.__version__,
        "commit": _commit(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]] if command is None else list(command),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: found for name in _PACKAGES if (found := _version(name)) is not None},
    }


def choose_device(name: str, key: str = "device") -> torch.device:
    """The torch device that ``device=`` (or another ``key``) names.

    Raises:
        SettingsError: it is no device, or not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"{key}={name} is not a device; choose auto, cpu, cuda or cuda:NUMBER.") from error
    if device.type not in ("cpu", "cuda"):
        raise SettingsError(f"{key}={name} is not supported; choose auto, cpu, cuda or cuda:NUMBER.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(f"{key}={name} asks for a GPU that this machine does not have; use {key}=cpu or auto.")
    return device


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of a checkout that this code runs from, or None."""
    try:
        found = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
