"""The network part in ONNX Runtime against torch."""

import pytest
import torch
from small_networks import SIZE, assert_same, cascade_of, pictures, unusual_part

from cpr_lightning.choices import Precision
from cpr_lightning.errors import SettingsError
from cpr_lightning.model.network import NetworkPart
from cpr_lightning.runtime.onnx import OnnxNetwork, choose_providers

for _package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(_package, reason="the extra onnx is not installed")

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def exact(part: NetworkPart) -> OnnxNetwork:
    return OnnxNetwork(part, Precision.fp32, SIZE, choose_providers(CPU, []))


def test_the_same_for_any_number_of_images(part: NetworkPart, exact: OnnxNetwork):
    for count in (1, 3, 1):
        assert_same(part, exact, pictures(count, 3), foreground=1e-4)


def test_another_backbone(light_part: NetworkPart):
    network = OnnxNetwork(light_part, Precision.fp32, SIZE, choose_providers(CPU, []))
    assert_same(light_part, network, pictures(2, 3), foreground=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convnext_atto", "swin_tiny_patch4_window7_224"])
def test_a_backbone_of_another_family(name: str):
    part = unusual_part(name)
    network = OnnxNetwork(part, Precision.fp32, SIZE, choose_providers(CPU, []))
    for count in (1, 2):
        assert_same(part, network, pictures(count, 3), foreground=1e-4)


def test_the_cascade_scores_the_same(part: NetworkPart, exact: OnnxNetwork):
    cascade = cascade_of(part)
    expected = cascade(pictures(3, 3))
    cascade.run_network = exact
    made = cascade(pictures(3, 3))
    assert torch.equal(made.neighbors, expected.neighbors)
    torch.testing.assert_close(made.score, expected.score, rtol=1e-4, atol=0)


def test_images_that_do_not_lie_in_one_piece(part: NetworkPart, exact: OnnxNetwork):
    assert_same(part, exact, pictures(1, 3).transpose(1, 2), foreground=1e-4)


def test_results_are_the_callers_own(exact: OnnxNetwork):
    first = exact(pictures(1, 3))
    before = [output.clone() for output in first]
    exact(pictures(1, 4))
    assert all(torch.equal(one, other) for one, other in zip(first, before, strict=True))


def test_images_of_another_size_are_refused(exact: OnnxNetwork):
    with pytest.raises(ValueError, match=r"Made for images of \(64, 64, 3\), not \(32, 64, 3\)"):
        exact(pictures(1, 3)[:, :32])


def test_a_provider_that_is_not_installed_is_refused():
    with pytest.raises(SettingsError, match=r"has no NoSuchProvider, only .*CPUExecutionProvider.*onnxruntime-gpu"):
        choose_providers(CPU, ["NoSuchProvider"])
    assert choose_providers(CPU, []) == ["CPUExecutionProvider"]
