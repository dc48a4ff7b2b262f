"""The network part in OpenVINO, Intel's inference library: the fastest on a CPU."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cpr_lightning.choices import Precision
from cpr_lightning.model.network import NetworkPart
from cpr_lightning.runtime.fused import fused

if TYPE_CHECKING:
    import openvino

_HINTS = {Precision.fp32: "f32", Precision.bf16: "bf16"}
_MOST_SIZES = 4  # batch sizes kept compiled: a test set has two, its batch and its rest


@cache
def load_openvino() -> ModuleType:
    """The package ``openvino``, kept from reporting its use.

    It sends an event to a statistics server at its import and at every conversion, unless the package that does so
    cannot be imported.
    """
    with _not_importable("openvino_telemetry"):
        import openvino
        import openvino.tools.ovc.convert_impl  # else imported at the first conversion
    return openvino


@contextmanager
def _not_importable(name: str) -> Iterator[None]:
    before = sys.modules.get(name)
    sys.modules[name] = None  # pyright: ignore[reportArgumentType] (Python's way to make an import fail)
    try:
        yield
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before


def has_bf16() -> bool:
    """Whether this processor computes in bf16; on others OpenVINO would quietly compute in fp32."""
    return "BF16" in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoNetwork:
    """Called like ``network.forward``, on the CPU. Not for several threads at once.

    The tensors of one call are overwritten by the next call with as many images.

    Every batch size is compiled for itself, when it first comes (a fraction of a second): with all shapes fixed, the
    plugin leaves out transpositions and copies, and is up to a third faster. At most four are kept.

    Args:
        network: in evaluation mode, on the CPU.
        precision: fp32 or bf16.
        image_size: pixels on a side.
    """

    def __init__(self, network: NetworkPart, precision: Precision, image_size: int) -> None:
        package = load_openvino()
        example = torch.zeros(1, image_size, image_size, 3, dtype=torch.uint8)
        with torch.inference_mode(False), torch.no_grad():
            self._model = package.convert_model(fused(network), example_input=example)
        self._core = package.Core()
        self._settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            # Runs that share a machine would all be bound to its first cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._shape = (image_size, image_size, 3)
        self._requests: dict[int, openvino.InferRequest] = {}
        self._request(1)

    def __call__(self, images: Tensor) -> list[Tensor]:
        """(B, H, W, 3) uint8 → codes, the foreground if there is one, descriptors per scale."""
        if tuple(images.shape[1:]) != self._shape:
            raise ValueError(f"Made for images of {self._shape}, not {tuple(images.shape[1:])}.")
        request = self._request(len(images))
        request.infer([images.contiguous().numpy()], share_inputs=True, share_outputs=True)
        return [torch.from_numpy(request.get_output_tensor(place).data) for place in range(len(self._model.outputs))]

    def _request(self, batch: int) -> "openvino.InferRequest":
        request = self._requests.pop(batch, None)
        if request is None:
            model = self._model.clone()
            model.reshape([batch, *self._shape])
            request = self._core.compile_model(model, "CPU", self._settings).create_infer_request()
        self._requests[batch] = request  # the last one used stands last
        if len(self._requests) > _MOST_SIZES:
            del self._requests[next(iter(self._requests))]
        return request
