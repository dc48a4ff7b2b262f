"""An exported network that fails, or computes something else, is refused; one that rounds is not."""

from collections.abc import Callable

import pytest
import torch
from small_networks import SIZE, pictures
from torch import Tensor

from cpr_lightning.choices import Precision, Runtime
from cpr_lightning.errors import SettingsError
from cpr_lightning.model.network import NetworkPart
from cpr_lightning.runtime import choosing
from cpr_lightning.runtime.choosing import rehearse
from cpr_lightning.runtime.trial import tried

CPU = torch.device("cpu")


def disturbed(part: NetworkPart, scale: int, amount: float) -> Callable[[Tensor], list[Tensor]]:
    """The network part, with descriptors of a scale turned a little."""

    def run(images: Tensor) -> list[Tensor]:
        with torch.inference_mode():
            outputs = part(images)
            wrong = outputs[2 + scale]
            noise = torch.randn(wrong.shape, generator=torch.Generator().manual_seed(1))
            outputs[2 + scale] = torch.nn.functional.normalize(wrong + amount * noise, dim=-1)
        return outputs

    return run


def test_what_computes_the_same_is_handed_on(part: NetworkPart):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    made = disturbed(part, 0, 1e-4)
    assert tried(lambda: made, part, Runtime.onnx, Precision.fp32, SIZE) is made
    made = disturbed(part, 1, 0.03)
    assert tried(lambda: made, part, Runtime.onnx, Precision.bf16, SIZE) is made
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("precision", "amount"), [(Precision.fp32, 0.03), (Precision.bf16, 0.2), (Precision.fp32, torch.nan)]
)
@pytest.mark.parametrize("scale", [0, 1])
def test_what_computes_something_else_is_refused(part: NetworkPart, scale: int, precision: Precision, amount: float):
    said = rf"runtime=openvino computes backbone\.name=resnet18 wrongly: .*scale {scale + 1} .*Use runtime=eager"
    with pytest.raises(SettingsError, match=said):
        tried(lambda: disturbed(part, scale, amount), part, Runtime.openvino, precision, SIZE)


def test_what_cannot_be_exported_is_refused_with_the_first_line_of_the_reason(part: NetworkPart):
    class OpConversionFailure(Exception):
        """As OpenVINO's, which is of no other kind."""

    def make() -> Callable[[Tensor], list[Tensor]]:
        try:
            raise OpConversionFailure("no such operation: aten::fold.\nStack: …")
        except OpConversionFailure as cause:
            raise RuntimeError("Failed to convert. Next steps: …") from cause

    with pytest.raises(
        SettingsError, match=r"runtime=openvino cannot .*resnet18 \(no such operation: aten::fold\)\. Use"
    ):
        tried(make, part, Runtime.openvino, Precision.fp32, SIZE)

    def refused() -> Callable[[Tensor], list[Tensor]]:
        raise SettingsError("runtime=onnx: ONNX Runtime could not start")

    with pytest.raises(SettingsError, match=r"^runtime=onnx: ONNX Runtime could not start$"):
        tried(refused, part, Runtime.onnx, Precision.fp32, SIZE)


def test_a_rehearsal_tries_the_untrained_network_and_leaves_it_as_it_was(
    part: NetworkPart, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    features = part.features.train()
    before = {name: value.clone() for name, value in features.state_dict().items()}
    try:
        rehearse(features, Runtime.openvino, Precision.fp32, CPU, SIZE)
        monkeypatch.setattr(choosing, "OpenVinoNetwork", lambda network, *_: disturbed(network, -1, 0.1))
        with pytest.raises(SettingsError, match=r"computes backbone\.name=resnet18 wrongly"):
            rehearse(features, Runtime.openvino, Precision.fp32, CPU, SIZE)
        rehearse(features, Runtime.eager, Precision.fp32, CPU, SIZE)
        assert features.branch is not None
        assert features.branch.training
        assert all(torch.equal(value, before[name]) for name, value in features.state_dict().items())
    finally:
        features.eval()
    assert part(pictures(1, 3))
