"""The network part through ``torch.compile``."""

import os
import shutil
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from cpr_lightning.choices import Precision
from cpr_lightning.model.network import NetworkPart
from cpr_lightning.runtime.eager import channels_last, in_precision


def compiler_problem(device: torch.device) -> str | None:
    """Why torch cannot compile for this device, or None: it writes C++ for a CPU and Triton for a GPU."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return None if has_triton() else "torch needs the package triton to compile for a GPU"
    names = (os.environ.get("CXX"), "cl") if sys.platform == "win32" else (os.environ.get("CXX"), "g++", "clang++")
    if any(name and shutil.which(name) for name in names):
        return None
    return f"torch needs a C++ compiler to compile for a CPU, and finds none of {', '.join(filter(None, names))}"


def compiled_network(network: NetworkPart, precision: Precision, image_size: int) -> Callable[[Tensor], list[Tensor]]:
    """Compile the network part for images of ``image_size``.

    Takes a minute on a CPU. It is compiled for one image here, and once more for any number of images when a batch of
    another size first comes.

    Args:
        network: in evaluation mode, on its device.
        precision: of backbone and branch.
        image_size: pixels on a side.

    Returns:
        Like ``network.forward``.
    """
    channels_last(network)
    part = in_precision(network, precision)
    # Frozen: weights become constants, so that batch norms are folded and weights laid out for the processor.
    compiled = torch.compile(part, options={"freezing": True})

    def run(images: Tensor) -> list[Tensor]:
        # Not in inference mode, whose tensors would become constants that no other mode can use.
        with torch.inference_mode(False), torch.no_grad():
            return compiled(images)

    run(torch.zeros(1, image_size, image_size, 3, dtype=torch.uint8, device=network.codebook.device))
    return run
