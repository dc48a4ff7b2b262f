"""What is chosen, what is refused, and with which sentence."""

import logging
import re
from importlib.util import find_spec

import pytest
import torch
from small_networks import SIZE, cascade_of, pictures

from cpr_lightning.choices import Precision, Runtime
from cpr_lightning.errors import SettingsError
from cpr_lightning.model.network import NetworkPart
from cpr_lightning.runtime import choosing
from cpr_lightning.runtime.choosing import check_runtime, use_runtime

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Packages of the extras that seem to be installed, with all they need; change it to change that."""
    names = {"openvino", "onnx", "onnxscript", "onnxruntime"}
    monkeypatch.setattr(choosing, "find_spec", lambda name: find_spec("json") if name in names else None)
    monkeypatch.setattr(choosing, "has_bf16", lambda: True)
    monkeypatch.setattr(choosing, "choose_providers", lambda _, wished: list(wished) or ["CPUExecutionProvider"])
    monkeypatch.setattr(choosing, "compiler_problem", lambda _: None)
    return names


@pytest.mark.parametrize(
    ("runtime", "package"),
    [
        (Runtime.openvino, "openvino"),
        (Runtime.onnx, "onnx"),
        (Runtime.onnx, "onnxscript"),
        (Runtime.onnx, "onnxruntime"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(installed: set[str], runtime: Runtime, package: str):
    assert check_runtime(runtime, Precision.fp32, CPU) is runtime
    installed.remove(package)
    expected = f'runtime={runtime.value} needs the package {package}: pip install "cpr-lightning[{runtime.value}]"'
    with pytest.raises(SettingsError, match=f"^{re.escape(expected)}$"):
        check_runtime(runtime, Precision.fp32, CPU)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("runtime", "precision", "device", "sentence"),
    [
        (Runtime.eager, Precision.fp16, CPU, "precision=fp16 is for CUDA; on a CPU choose precision=bf16"),
        (Runtime.auto, Precision.fp16, CPU, "precision=fp16 is for CUDA"),
        (Runtime.openvino, Precision.fp32, CUDA, "runtime=openvino computes on the CPU, but device=cuda"),
        (Runtime.onnx, Precision.bf16, CPU, "runtime=onnx does not compute in bf16 here. Use precision=fp32"),
        (Runtime.onnx, Precision.fp16, CUDA, "runtime=onnx does not compute in fp16 here"),
    ],
)
def test_what_does_not_go_together_is_refused(
    runtime: Runtime, precision: Precision, device: torch.device, sentence: str
):
    with pytest.raises(SettingsError, match=f"^{re.escape(sentence)}"):
        check_runtime(runtime, precision, device)


@pytest.mark.usefixtures("installed")
def test_a_processor_without_bf16_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choosing, "has_bf16", lambda: False)
    with pytest.raises(SettingsError, match=r"this processor cannot compute in bf16.*Say precision=fp32"):
        check_runtime(Runtime.openvino, Precision.bf16, CPU)
    assert check_runtime(Runtime.openvino, Precision.fp32, CPU) is Runtime.openvino
    assert check_runtime(Runtime.auto, Precision.bf16, CPU) is Runtime.eager


@pytest.mark.usefixtures("installed")
def test_a_machine_that_cannot_compile_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choosing, "compiler_problem", lambda _: "torch has no compiler")
    with pytest.raises(SettingsError, match=r"^runtime=compile cannot be used here: torch has no compiler"):
        check_runtime(Runtime.compile, Precision.fp32, CPU)
    assert check_runtime(Runtime.auto, Precision.fp32, CUDA) is Runtime.eager


@pytest.mark.usefixtures("installed")
def test_fp16_of_onnx_goes_with_tensorrt():
    providers = ["TensorrtExecutionProvider", "CUDAExecutionProvider"]
    assert check_runtime(Runtime.onnx, Precision.fp16, CUDA, providers) is Runtime.onnx


def test_auto_takes_the_fastest_that_is_there(installed: set[str], caplog: pytest.LogCaptureFixture):
    assert check_runtime(Runtime.auto, Precision.bf16, CUDA) is Runtime.compile
    assert check_runtime(Runtime.auto, Precision.fp32, CPU) is Runtime.openvino
    installed.remove("openvino")
    assert check_runtime(Runtime.auto, Precision.bf16, CPU) is Runtime.eager  # onnx has no bf16
    with caplog.at_level(logging.INFO, logger="cpr_lightning"):
        assert check_runtime(Runtime.auto, Precision.fp32, CPU) is Runtime.onnx
    assert "runtime=auto leaves out openvino: runtime=openvino needs the package openvino" in caplog.text
    installed.remove("onnxscript")
    assert check_runtime(Runtime.auto, Precision.fp32, CPU) is Runtime.eager


def test_what_was_chosen_is_installed_named_and_logged(part: NetworkPart, caplog: pytest.LogCaptureFixture):
    cascade = cascade_of(part)
    expected = cascade(pictures(1, 3))
    with caplog.at_level(logging.INFO, logger="cpr_lightning"):
        name = use_runtime(cascade, Runtime.eager, Precision.bf16, CPU, image_size=SIZE)
    assert name == "eager bf16"
    assert "The network part is computed by eager bf16 (ready in " in caplog.text
    assert (cascade(pictures(1, 3)).score - expected.score).abs() > 1e-4 * expected.score
    assert use_runtime(cascade, Runtime.eager, Precision.fp32, CPU, image_size=SIZE) == "eager fp32"
    torch.testing.assert_close(cascade(pictures(1, 3)).score, expected.score, rtol=1e-5, atol=0)


def test_auto_installs_what_it_names(part: NetworkPart):
    if find_spec("openvino") is None:
        pytest.skip("the extra openvino is not installed")
    cascade = cascade_of(part)
    assert use_runtime(cascade, Runtime.auto, Precision.fp32, CPU, image_size=SIZE) == "openvino fp32"
    assert type(cascade.run_network).__name__ == "OpenVinoNetwork"
    assert cascade(pictures(2, 3)).score.shape == (2,)


def test_a_runtime_that_cannot_be_used_leaves_the_cascade_alone(part: NetworkPart, installed: set[str]):
    cascade = cascade_of(part)
    before = cascade.run_network
    installed.clear()
    with pytest.raises(SettingsError, match="needs the package"):
        use_runtime(cascade, Runtime.openvino, Precision.fp32, CPU, image_size=SIZE)
    assert cascade.run_network == before
