"""Any family of timm as a backbone: what is taken, at which strides, and what is refused with which advice."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cpr_lightning.choices import Reading
from cpr_lightning.errors import SettingsError, WeightsError
from cpr_lightning.model.backbone import Backbone

SIZE = 64
# Sixteen families; per network the layers at strides 4 and 8. Those of the paper are in test_backbone.
FAMILIES = {
    "densenet121": [1, 2],
    "efficientnet_lite0": [1, 2],
    "mnasnet_small": [1, 2],
    "mobilenetv3_small_050": [1, 2],
    "ghostnet_050": [1, 2],
    "regnetx_002": [1, 2],
    "resnext50_32x4d": [1, 2],
    "wide_resnet50_2": [1, 2],
    "res2next50": [1, 2],
    "dla46x_c": [2, 3],  # its layer 0 has the size of the image
    "convnext_atto": [0, 1],
    "edgenext_xx_small": [0, 1],
    "poolformerv2_s12": [0, 1],
    "mobilevit_xxs": [1, 2],
    "pvt_v2_b0": [0, 1],
    "maxvit_rmlp_pico_rw_256": [1, 2],  # with windows that depend on the image size
    "swin_tiny_patch4_window7_224": [0, 1],  # computes with channels last
}


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*meshgrid.*|.*Overwriting.*")
        yield


def images(size: int = SIZE) -> Tensor:
    return torch.randint(256, (2, size, size, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def whole_network(name: str, seed: int) -> nn.Module:
    """The network as timm makes it, nothing cut off."""
    made_for_a_size = timm.get_pretrained_cfg(name).fixed_input_size  # pyright: ignore[reportOptionalMemberAccess]
    options: dict[str, Any] = {"img_size": SIZE} if made_for_a_size else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return timm.create_model(name, **options).eval()


def parameters_of(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_gives_what_its_whole_network_computes_at_strides_4_and_8(name: str):
    backbone = Backbone(name, "random", seed=3, statistics=Reading.paper, image_size=SIZE)
    assert backbone.layers == FAMILIES[name]
    assert backbone.strides == [4, 8]
    nn.Sequential(backbone).train()
    assert not any(module.training for module in backbone.modules())

    whole, heard = whole_network(name, seed=3), {}
    facts: Any = whole.feature_info
    for layer in backbone.layers:
        module = whole.get_submodule(facts[layer]["module"])
        module.register_forward_hook(lambda _module, _given, made, layer=layer: heard.update({layer: made}))
    facts = whole.pretrained_cfg
    mean, std = torch.tensor(facts["mean"]), torch.tensor(facts["std"])
    with torch.no_grad():
        whole(((images() / 255 - mean) / std).permute(0, 3, 1, 2))

    features = backbone(images())
    for scale, layer, channels, side in zip(features, backbone.layers, backbone.channels, (16, 8), strict=True):
        assert scale.shape == (2, channels, side, side)
        assert scale.dtype == torch.float32
        expected = heard[layer] if heard[layer].shape == scale.shape else heard[layer].permute(0, 3, 1, 2)
        torch.testing.assert_close(scale, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    assert all(torch.equal(one, other) for one, other in zip(features, backbone(images()), strict=True))
    assert parameters_of(backbone) < 0.2 * parameters_of(whole), "what lies behind the last layer is cut off"


def test_pixels_are_normalised_as_the_network_was_trained():
    assert timm.get_pretrained_cfg("mobilevit_xxs").mean == (0, 0, 0)  # pyright: ignore[reportOptionalMemberAccess]
    plain = Backbone("mobilevit_xxs", "random", image_size=SIZE, statistics=Reading.paper)
    expected = plain.network(images().permute(0, 3, 1, 2) / 255)
    for one, other in zip(plain(images()), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_official_noise_leaves_a_network_without_batch_norm_alone():
    official, paper = (Backbone("test_convnext", "random", image_size=SIZE, statistics=each) for each in Reading)
    for one, other in zip(official(images()), paper(images()), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("strides", [[4], [8], [8, 16], [4, 8, 16]])
def test_other_strides_are_found_too(strides: list[int]):
    for name in ("resnet18", "test_convnext"):
        backbone = Backbone(name, "random", strides=strides, image_size=SIZE, statistics=Reading.paper)
        assert backbone.strides == strides
        assert [SIZE // scale.shape[-1] for scale in backbone(images())] == strides


def test_of_several_layers_at_a_stride_the_last_is_taken_unless_one_is_named():
    options: dict[str, Any] = {"strides": [8, 16], "image_size": SIZE, "statistics": Reading.paper}
    assert Backbone("csatv2", "random", **options).layers == [1, 2]
    assert Backbone("csatv2", "random", [0, 2], **options).layers == [0, 2]


@pytest.mark.parametrize(
    ("name", "layers", "said"),
    [
        (
            "test_convnext",
            [1, 2],
            r"backbone\.layers=\[1, 2\] of backbone\.name=test_convnext are at strides 8 and 16; backbone\.strides="
            r"\[4, 8\] are asked for, and it has layer 0 at stride 4, layer 1 at stride 8, .*Take backbone\.layers="
            r"\[0, 1\], or leave it out",
        ),
        ("resnet18", [2, 1], r"are at strides 8 and 4;.*Take backbone\.layers=\[1, 2\]"),
        ("resnet18", [1, 9], r"backbone\.name=resnet18 has no layer 9;.*Take backbone\.layers=\[1, 2\]"),
        ("resnet18", [-4, -3], r"backbone\.name=resnet18 has no layer -4;"),
        ("resnet18", [1], r"are at stride 4; backbone\.strides=\[4, 8\]"),
        ("pit_ti_224", None, r"pit_ti_224 has no features at stride 4;.*another network, or backbone\.strides=\[8, 16"),
        ("test_vit", None, r"no features at strides 4 and 8;.*has layers 0 to 5 at stride 16\. Take another network\."),
        ("hardcorenas_a", None, r"timm gives no features of backbone\.name=hardcorenas_a .*Take another network"),
    ],
)
def test_layers_that_do_not_fit_are_refused_with_those_that_do(name: str, layers: list[int] | None, said: str):
    with pytest.raises(SettingsError, match=said):
        Backbone(name, "random", layers, image_size=SIZE)


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        (
            "densenet121",
            100,
            r"its features at stride 8 have 12 × 12 cells, not 13 × 13\. Take a multiple of 32, such as 128",
        ),
        ("hrnet_w18_small", 100, r"The size of tensor.*Take a multiple of 32, such as 128"),
        ("maxvit_rmlp_pico_rw_256", 100, r"must be divisible by window.*Take a multiple of 32"),
        ("gcvit_xxtiny", 100, r"invalid for input.*Take a multiple of 32"),
        ("twins_svt_small", 100, r"should be divided.*Take a multiple of 32"),
        ("halonet_h1", 96, r"Take another image_size \(it was trained at 256\), or another network"),
        ("inception_v3", 96, r"at stride 4 have 20 × 20 cells, not 24 × 24\. Take another network"),
    ],
)
def test_an_image_size_that_the_network_cannot_take_is_refused(name: str, size: int, said: str):
    with pytest.raises(SettingsError, match=rf"image_size={size} does not fit backbone\.name={name}: .*{said}"):
        Backbone(name, "random", image_size=size)


@pytest.mark.parametrize("name", ["densenet121", "hrnet_w18_small", "gcvit_xxtiny"])
def test_the_size_that_is_advised_fits(name: str):
    assert Backbone(name, "random", image_size=128, statistics=Reading.paper).strides == [4, 8]


def test_a_tag_names_the_weights_and_an_unknown_one_is_refused_with_those_there_are():
    assert Backbone("resnet18.tv_in1k", "random", image_size=SIZE, statistics=Reading.paper).name == "resnet18.tv_in1k"
    with pytest.raises(
        SettingsError, match=r"backbone\.name=resnet18\.tv: timm has no weights tv of resnet18.*tv_in1k"
    ):
        Backbone("resnet18.tv", "random", image_size=SIZE)
    with pytest.raises(SettingsError, match=r"resnet1\.tv is not a timm model.*resnet1\d"):
        Backbone("resnet1.tv", "random", image_size=SIZE)


def test_a_network_without_weights_says_so_before_it_asks_the_hub(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"timm has no weights of backbone\.name=halonet_h1"):
        Backbone("halonet_h1", "imagenet", image_size=SIZE)


def test_weights_of_another_size_come_with_the_command_for_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "coat.safetensors"
    save_file(timm.create_model("test_coatnet", img_size=SIZE).state_dict(), path)
    # The tables of its convolutional stages do not depend on the size.
    Backbone("test_coatnet", str(path), image_size=96)
    save_file(timm.create_model("hiera_tiny_224", img_size=SIZE).state_dict(), path)
    Backbone("hiera_tiny_224", str(path), image_size=SIZE, statistics=Reading.paper)
    with pytest.raises(WeightsError, match=r"(?s)pos_embed.*needed\).*pretrained=True, img_size=96\)"):
        Backbone("hiera_tiny_224", str(path), image_size=96)

    create = timm.create_model

    def fetched_at_another_size(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        if pretrained:
            raise RuntimeError("Error(s) in loading state_dict for Hiera:\n\tsize mismatch")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", fetched_at_another_size)
    with pytest.raises(SettingsError, match=r"image_size=96 does not fit.*state_dict.*it was trained at 224"):
        Backbone("hiera_tiny_224", "imagenet", image_size=96)
