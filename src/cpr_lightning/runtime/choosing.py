"""Which runtime computes the network part, whether it can here, and its installation."""

import logging
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from importlib.util import find_spec

import torch
from torch import Tensor

from cpr_lightning.choices import Precision, Runtime
from cpr_lightning.errors import SettingsError
from cpr_lightning.model.cascade import CascadePatchRetrieval
from cpr_lightning.model.network import LocalFeatures, NetworkPart
from cpr_lightning.runtime.compiled import compiled_network, compiler_problem
from cpr_lightning.runtime.eager import channels_last, in_precision
from cpr_lightning.runtime.onnx import TENSORRT, OnnxNetwork, choose_providers
from cpr_lightning.runtime.openvino import OpenVinoNetwork, has_bf16
from cpr_lightning.runtime.trial import tried

_LOG = logging.getLogger(__name__)
_PACKAGES = {Runtime.openvino: ["openvino"], Runtime.onnx: ["onnx", "onnxscript", "onnxruntime"]}
# Fastest first (benchmarks/network.py). On a CPU torch.compile is slower than OpenVINO and takes a minute to get ready.
_FASTEST = {"cpu": (Runtime.openvino, Runtime.onnx, Runtime.eager), "cuda": (Runtime.compile, Runtime.eager)}


def check_runtime(
    runtime: Runtime, precision: Precision, device: torch.device, onnx_providers: Sequence[str] = ()
) -> Runtime:
    """Find out, before any work, whether the network part can be computed so.

    Args:
        runtime: as asked for.
        precision: of the network part.
        device: that the cascade is on.
        onnx_providers: ONNX Runtime's names, best first; empty: those of the device.

    Returns:
        The runtime; for ``auto``, the fastest that can be used here.

    Raises:
        SettingsError: it cannot be, with the reason and what to do.
    """
    if precision is Precision.fp16 and device.type == "cpu":
        raise SettingsError("precision=fp16 is for CUDA; on a CPU choose precision=bf16 or precision=fp32.")
    if runtime is not Runtime.auto:
        _check(runtime, precision, device, onnx_providers)
        return runtime
    for candidate in _FASTEST[device.type]:
        try:
            _check(candidate, precision, device, onnx_providers)
        except SettingsError as reason:
            _LOG.info("runtime=auto leaves out %s: %s", candidate.value, reason)
            continue
        return candidate
    raise AssertionError("eager can always be used")


def use_runtime(
    cascade: CascadePatchRetrieval,
    runtime: Runtime,
    precision: Precision,
    device: torch.device,
    *,
    image_size: int,
    onnx_providers: Sequence[str] = (),
) -> str:
    """Let a runtime compute the cascade's network part from now on.

    The weights are taken as they are: call it once the cascade is trained, and on its device.

    Args:
        cascade: its ``run_network`` is replaced.
        runtime: as asked for.
        precision: of backbone and branch. Codes and foreground are computed in fp32 from what these give, except by
            OpenVINO, which computes them in ``precision`` too.
        device: that the cascade is on.
        image_size: pixels on a side of the images to come.
        onnx_providers: see :func:`check_runtime`.

    Returns:
        What was chosen, "openvino bf16" for example.

    Raises:
        SettingsError: see :func:`check_runtime`.
    """
    chosen = check_runtime(runtime, precision, device, onnx_providers)
    start = time.perf_counter()
    cascade.run_network = prepare(chosen, cascade.network, precision, device, image_size, onnx_providers)
    name = f"{chosen.value} {precision.value}"
    _LOG.info("The network part is computed by %s (ready in %.1f s).", name, time.perf_counter() - start)
    return name


def prepare(
    runtime: Runtime,
    network: NetworkPart,
    precision: Precision,
    device: torch.device,
    image_size: int,
    onnx_providers: Sequence[str] = (),
) -> Callable[[Tensor], Sequence[Tensor]]:
    """A runtime's version of ``network.forward``, of what :func:`check_runtime` returned.

    Raises:
        SettingsError: an exporter cannot take the backbone, or makes something else of it.
    """
    if runtime is Runtime.openvino:
        return tried(lambda: OpenVinoNetwork(network, precision, image_size), network, runtime, precision, image_size)
    if runtime is Runtime.onnx:
        providers = choose_providers(device, onnx_providers)
        return tried(
            lambda: OnnxNetwork(network, precision, image_size, providers), network, runtime, precision, image_size
        )
    if runtime is Runtime.compile:
        return compiled_network(network, precision, image_size)
    if device.type == "cuda":
        channels_last(network)
    return in_precision(network, precision).forward


def rehearse(
    features: LocalFeatures,
    runtime: Runtime,
    precision: Precision,
    device: torch.device,
    image_size: int,
    onnx_providers: Sequence[str] = (),
) -> None:
    """Export an untrained network as it will be once it is trained: what cannot be done is known before training.

    Raises:
        SettingsError: see :func:`prepare`.
    """
    chosen = check_runtime(runtime, precision, device, onnx_providers)
    if chosen not in _PACKAGES:
        return
    codebook = torch.zeros(2, features.backbone.channels[0], device=device)
    network = NetworkPart(deepcopy(features), codebook, None).eval()
    prepare(chosen, network, precision, device, image_size, onnx_providers)


def _check(runtime: Runtime, precision: Precision, device: torch.device, onnx_providers: Sequence[str]) -> None:
    for package in _PACKAGES.get(runtime, []):
        if find_spec(package) is None:
            raise SettingsError(
                f'runtime={runtime.value} needs the package {package}: pip install "cpr-lightning[{runtime.value}]"'
            )
    if runtime is Runtime.compile and (problem := compiler_problem(device)) is not None:
        raise SettingsError(f"runtime=compile cannot be used here: {problem}. Install it, or use runtime=eager.")
    if runtime is Runtime.openvino:
        if device.type != "cpu":
            raise SettingsError(
                f"runtime=openvino computes on the CPU, but device={device}. Use device=cpu, or runtime=compile."
            )
        if precision is Precision.bf16 and not has_bf16():
            raise SettingsError(
                "precision=bf16: this processor cannot compute in bf16, and OpenVINO would quietly use fp32. "
                "Say precision=fp32."
            )
    if runtime is Runtime.onnx:
        providers = choose_providers(device, onnx_providers)
        if precision is Precision.bf16 or (precision is Precision.fp16 and TENSORRT not in providers):
            raise SettingsError(
                f"runtime=onnx does not compute in {precision.value} here. Use precision=fp32, or runtime=openvino for "
                "bf16 on a CPU, runtime=compile for bf16 and fp16 on a GPU (fp16 also with "
                f"onnx_providers=[{TENSORRT}])."
            )
