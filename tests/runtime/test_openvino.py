"""The network part in OpenVINO against torch."""

import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from small_networks import SIZE, assert_close, assert_same, cascade_of, part_of, pictures, unusual_part

from cpr_lightning.choices import Precision
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.network import NetworkPart
from cpr_lightning.runtime.openvino import OpenVinoNetwork, has_bf16, load_openvino

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="the extra openvino is not installed")


@pytest.fixture(scope="module")
def exact(part: NetworkPart) -> OpenVinoNetwork:
    return OpenVinoNetwork(part, Precision.fp32, SIZE)


def test_fp32_is_the_same_for_any_number_of_images(part: NetworkPart, exact: OpenVinoNetwork):
    for count in (1, 3, 1):
        assert_same(part, exact, pictures(count, 3), foreground=1e-4)


def test_fp32_of_another_backbone(light_part: NetworkPart):
    assert_same(light_part, OpenVinoNetwork(light_part, Precision.fp32, SIZE), pictures(2, 3), foreground=1e-4)


def test_without_branch_and_foreground(small_backbone: Backbone):
    plain = part_of(small_backbone, branch=False, foreground=False)
    assert_same(plain, OpenVinoNetwork(plain, Precision.fp32, SIZE), pictures(1, 3), foreground=1e-4)


def test_bf16_is_close_for_any_number_of_images(part: NetworkPart):
    if not has_bf16():
        pytest.skip("this processor cannot compute in bf16")
    half = OpenVinoNetwork(part, Precision.bf16, SIZE)
    for count in (1, 3):
        assert_close(part, half, pictures(count, 3))


@pytest.mark.parametrize("name", ["convnext_atto", "swin_tiny_patch4_window7_224"])
def test_a_backbone_of_another_family(name: str):
    part = unusual_part(name)
    network = OpenVinoNetwork(part, Precision.fp32, SIZE)
    for count in (1, 2):
        assert_same(part, network, pictures(count, 3), foreground=1e-4)


def test_the_cascade_scores_the_same(part: NetworkPart, exact: OpenVinoNetwork):
    cascade = cascade_of(part)
    expected = cascade(pictures(3, 3))
    cascade.run_network = exact
    made = cascade(pictures(3, 3))
    assert torch.equal(made.neighbors, expected.neighbors)
    torch.testing.assert_close(made.score, expected.score, rtol=1e-4, atol=0)


def test_images_that_do_not_lie_in_one_piece(part: NetworkPart, exact: OpenVinoNetwork):
    turned = pictures(1, 3).transpose(1, 2)
    assert not turned.is_contiguous()
    assert_same(part, exact, turned, foreground=1e-4)


def test_few_batch_sizes_stay_compiled_and_results_outlive_their_model(exact: OpenVinoNetwork):
    first = exact(pictures(1, 3))
    before = [output.clone() for output in first]
    for count in (2, 3, 4, 5, 6):
        exact(pictures(count, 4))
    assert list(exact._requests) == [3, 4, 5, 6]
    assert all(torch.equal(one, other) for one, other in zip(first, before, strict=True))
    exact(pictures(3, 4))
    assert list(exact._requests) == [4, 5, 6, 3]


def test_images_of_another_size_are_refused(exact: OpenVinoNetwork):
    with pytest.raises(ValueError, match=r"Made for images of \(64, 64, 3\), not \(32, 64, 3\)"):
        exact(pictures(1, 3)[:, :32])


@pytest.mark.slow
def test_nothing_is_reported_to_anyone():
    """In a process of its own, which says what would report and every attempt to connect."""
    code = """
import sys
def tell(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        print("tried to connect", flush=True)
sys.addaudithook(tell)
from cpr_lightning.runtime.openvino import load_openvino
openvino = load_openvino()
import torch
openvino.convert_model(torch.nn.ReLU(), example_input=torch.zeros(1, 2))
for name, module in list(sys.modules.items()):
    if name.startswith("openvino.tools.ovc") and hasattr(module, "tm"):
        print(module.tm.__name__)
print("openvino_telemetry" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *stubs, loaded = done.stdout.splitlines()
    assert stubs
    assert set(stubs) == {"openvino.tools.ovc.telemetry_stub"}
    assert loaded == "False"


def test_the_package_is_loaded_once():
    assert load_openvino() is load_openvino()
