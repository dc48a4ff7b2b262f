"""Exported networks are tried before they are used: not every backbone goes through every exporter unharmed."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cpr_lightning.choices import Precision, Runtime
from cpr_lightning.errors import CprError, SettingsError, first_line
from cpr_lightning.model.network import NetworkPart

# How far the descriptors' mean cosine may be from 1. Rounding makes 1e-7 and 1e-3; a wrong graph was seen to make 1e-3.
_ALLOWED = {Precision.fp32: 1e-4, Precision.bf16: 0.05, Precision.fp16: 0.05}

Network = Callable[[Tensor], Sequence[Tensor]]


def tried(
    make: Callable[[], Network], network: NetworkPart, runtime: Runtime, precision: Precision, image_size: int
) -> Network:
    """What ``make`` exports of the network, once it gives the network's own descriptors of an image of noise.

    Args:
        make: exports and loads it.
        network: in evaluation mode, on its device.
        runtime: for the message.
        precision: of what is made.
        image_size: pixels on a side.

    Raises:
        SettingsError: the network cannot be exported, or computes something else when it is.
    """
    name = network.features.backbone.name
    noise = torch.randint(256, (1, image_size, image_size, 3), generator=torch.Generator().manual_seed(0))
    noise = noise.to(network.codebook.device, torch.uint8)
    try:
        made = make()
        found = network.named(made(noise)).local
    except CprError:
        raise
    except Exception as error:  # exporters have exceptions of their own kinds
        reason = first_line(_first_cause(error)).rstrip(".")
        raise SettingsError(
            f"runtime={runtime.value} cannot compute backbone.name={name} ({reason}). Use runtime=eager."
        ) from error
    with torch.inference_mode():
        expected = network.named(network(noise)).local
    for scale, (one, other) in enumerate(zip(found, expected, strict=True), start=1):
        off = 1 - float((one * other).sum(-1).mean())
        if not abs(off) <= _ALLOWED[precision]:  # nor nan
            raise SettingsError(
                f"runtime={runtime.value} computes backbone.name={name} wrongly: the descriptors of scale {scale} have "
                f"a mean cosine of {1 - off:.4f} with those of torch, where they should be the same. Use runtime=eager."
            )
    return made


def _first_cause(error: BaseException) -> BaseException:
    return error if error.__cause__ is None else _first_cause(error.__cause__)
