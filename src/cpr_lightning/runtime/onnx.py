"""The network part in ONNX Runtime: on a CPU, on a GPU, or through TensorRT."""

from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from cpr_lightning.choices import Precision
from cpr_lightning.errors import SettingsError
from cpr_lightning.model.network import NetworkPart

TENSORRT = "TensorrtExecutionProvider"
_TYPES = {"tensor(float)": torch.float32, "tensor(int64)": torch.int64}


@cache
def load_onnxruntime() -> ModuleType:
    """The package ``onnxruntime``, kept from reporting its use where it would (on Windows)."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


def choose_providers(device: torch.device, wished: Sequence[str]) -> list[str]:
    """ONNX Runtime's names of what computes, best first: ``wished``, or what goes with the device.

    Raises:
        SettingsError: the installed ONNX Runtime does not have one of them.
    """
    available = load_onnxruntime().get_available_providers()
    own = ["CUDAExecutionProvider", "CPUExecutionProvider"] if device.type == "cuda" else ["CPUExecutionProvider"]
    providers = list(wished) or own
    for name in providers:
        if name not in available:
            raise SettingsError(
                f"runtime=onnx: the installed onnxruntime has no {name}, only {', '.join(available)}. For a GPU "
                "install onnxruntime-gpu in place of onnxruntime, or use runtime=compile; onnx_providers= names what "
                "to use."
            )
    return providers


class OnnxNetwork:
    """Called like ``network.forward``; any number of images. Every call returns new tensors.

    Args:
        network: in evaluation mode, on its device.
        precision: fp32, or fp16 for TensorRT, which then chooses it layer by layer.
        image_size: pixels on a side.
        providers: as :func:`choose_providers` gives them.

    Raises:
        SettingsError: a provider is installed but cannot be used here (a library of its own is missing, for example).
    """

    def __init__(self, network: NetworkPart, precision: Precision, image_size: int, providers: Sequence[str]) -> None:
        onnxruntime = load_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        chosen = [
            (name, {"trt_fp16_enable": precision is Precision.fp16} if name == TENSORRT else {}) for name in providers
        ]
        self._session = onnxruntime.InferenceSession(export_onnx(network, image_size), options, providers=chosen)
        used = self._session.get_providers()
        if missing := [name for name in providers if name not in used]:
            raise SettingsError(
                f"runtime=onnx: ONNX Runtime could not start {', '.join(missing)} on this machine and would use "
                f"{', '.join(used)}. See its message above, or use another runtime."
            )
        self._device = network.codebook.device
        self._shape = (image_size, image_size, 3)
        self._input: str = self._session.get_inputs()[0].name
        self._outputs = [(item.name, tuple(item.shape[1:]), _TYPES[item.type]) for item in self._session.get_outputs()]

    def __call__(self, images: Tensor) -> list[Tensor]:
        """(B, H, W, 3) uint8 → codes, the foreground if there is one, descriptors per scale."""
        if tuple(images.shape[1:]) != self._shape:
            raise ValueError(f"Made for images of {self._shape}, not {tuple(images.shape[1:])}.")
        images = images.contiguous()
        binding = self._session.io_binding()
        binding.bind_input(self._input, **_place(images))
        outputs = []
        for name, shape, dtype in self._outputs:
            output = torch.empty((len(images), *shape), dtype=dtype, device=self._device)
            binding.bind_output(name, **_place(output))
            outputs.append(output)
        if images.is_cuda:
            torch.cuda.current_stream(self._device).synchronize()  # ONNX Runtime has a stream of its own
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return outputs


def export_onnx(network: NetworkPart, image_size: int) -> bytes:
    """The network part as an ONNX file, for any number of images of ``image_size``."""
    # Two images: a size of one would be taken for a constant.
    example = torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8, device=network.codebook.device)
    with torch.inference_mode(False), torch.no_grad():
        program = torch.onnx.export(
            network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},), dynamo=True, verbose=False
        )
    assert program is not None
    return program.model_proto.SerializeToString()


def _place(tensor: Tensor) -> dict[str, Any]:
    """Where a tensor lies, as ONNX Runtime wants it."""
    return {
        "device_type": tensor.device.type,
        "device_id": tensor.device.index or 0,
        "element_type": torch.empty(0, dtype=tensor.dtype).numpy().dtype.type,
        "shape": tuple(tensor.shape),
        "buffer_ptr": tensor.data_ptr(),
    }
