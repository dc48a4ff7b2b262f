"""The frozen network: what it computes, that it never changes, and which weights it refuses."""

from collections.abc import Iterator
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

RESNET_LAYERS = [1, 2]


def resnet(**options: object) -> Backbone:
    return Backbone("resnet18", "random", RESNET_LAYERS, image_size=64, **options)  # pyright: ignore[reportArgumentType]


def images(count: int = 2, size: int = 64, seed: int = 0) -> Tensor:
    return torch.randint(256, (count, size, size, 3), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A whole ResNet-18 of timm, unlike the one that a seed of 0 gives."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        return timm.create_model("resnet18").eval()


@pytest.fixture(scope="module")
def weights(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def global_generator_is_left_alone() -> Iterator[None]:
    torch.manual_seed(99)
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


def test_it_stays_frozen_and_in_evaluation_mode():
    backbone = resnet()
    state = {name: value.clone() for name, value in backbone.state_dict().items()}
    holder = nn.Sequential(backbone).train()
    assert holder.training
    assert not any(module.training for module in backbone.modules())
    features = backbone(images())
    assert not any(scale.requires_grad for scale in features)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())


def test_it_is_cut_off_behind_the_last_layer_needed():
    names = list(resnet().state_dict())
    assert any("layer2" in name for name in names)
    assert not any("layer3" in name or "layer4" in name or "fc" in name for name in names)


@pytest.mark.parametrize(
    ("name", "channels"), [("resnet18", [64, 128]), ("efficientnet_b0", [24, 40]), ("densenet201", [256, 512])]
)
def test_the_networks_of_the_variants_have_the_papers_channels_at_strides_4_and_8(name: str, channels: list[int]):
    backbone = Backbone(name, "random", [1, 2], statistics=Reading.paper)
    assert backbone.channels == channels
    assert backbone.strides == [4, 8]
    assert [scale.shape for scale in backbone(images(1))] == [(1, channels[0], 16, 16), (1, channels[1], 8, 8)]


@pytest.mark.parametrize("size", [64, 70, 97])
def test_the_grid_is_what_the_network_gives(size: int, small_backbone: Backbone):
    features = small_backbone(images(1, size))
    assert [small_backbone.grid(layer, size) for layer in range(2)] == [scale.shape[-1] for scale in features]


def test_images_are_normalised_as_imagenet_wants_them(network: nn.Module, weights: Path):
    backbone = Backbone("resnet18", str(weights), RESNET_LAYERS, statistics=Reading.paper)
    given = images()
    pixels = given.permute(0, 3, 1, 2).double() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = ((pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)).float()
    with torch.no_grad():
        stem = network.maxpool(network.act1(network.bn1(network.conv1(pixels))))  # pyright: ignore[reportCallIssue]
        first = network.layer1(stem)  # pyright: ignore[reportCallIssue]
        second = network.layer2(first)  # pyright: ignore[reportCallIssue]
    features = backbone(given)
    assert [scale.dtype for scale in features] == [torch.float32, torch.float32]
    torch.testing.assert_close(features[0], first, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(features[1], second, rtol=1e-4, atol=1e-5)


def test_an_image_has_the_same_features_in_any_batch(small_backbone: Backbone):
    given = images(3)
    together = small_backbone(given)
    for number in range(3):
        for scale, alone in zip(together, small_backbone(given[number : number + 1]), strict=True):
            torch.testing.assert_close(alone[0], scale[number], rtol=1e-4, atol=1e-5)


def test_random_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = resnet()
    torch.manual_seed(2)
    torch.rand(10)
    again = resnet()
    torch.manual_seed(99)
    assert first.fingerprint == again.fingerprint
    for one, other in zip(first(images()), again(images()), strict=True):
        assert torch.equal(one, other)
    assert resnet(seed=1).fingerprint != first.fingerprint


def test_the_official_statistics_move_a_tenth_of_the_way_to_those_of_noise(network: nn.Module, weights: Path):
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(66)
        timm.create_model("resnet18")
        response = network.conv1(torch.randn(2, 3, 64, 64))  # pyright: ignore[reportCallIssue]
    before = network.state_dict()
    official = Backbone("resnet18", str(weights), RESNET_LAYERS, image_size=64).network.state_dict()
    mean = 0.9 * before["bn1.running_mean"] + 0.1 * response.mean((0, 2, 3))
    variance = 0.9 * before["bn1.running_var"] + 0.1 * response.var((0, 2, 3), unbiased=True)
    torch.testing.assert_close(official["model.bn1.running_mean"], mean, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(official["model.bn1.running_var"], variance, rtol=1e-4, atol=1e-6)


def test_the_official_statistics_are_all_that_differs_from_the_paper(weights: Path):
    made = {
        reading: Backbone("resnet18", str(weights), RESNET_LAYERS, statistics=reading, image_size=64)
        for reading in Reading
    }
    states = {reading: backbone.network.state_dict() for reading, backbone in made.items()}
    changed = {
        name for name, value in states[Reading.paper].items() if not torch.equal(value, states[Reading.official][name])
    }
    norms = {name for name in states[Reading.paper] if "running_" in name or "num_batches" in name}
    assert changed == norms
    assert made[Reading.paper].fingerprint != made[Reading.official].fingerprint
    again = Backbone("resnet18", str(weights), RESNET_LAYERS, image_size=64)
    assert again.fingerprint == made[Reading.official].fingerprint


def test_a_file_may_hold_more_than_needed_and_lack_the_counters_of_batch_norms(
    network: nn.Module, weights: Path, tmp_path: Path
):
    less = {
        name: value
        for name, value in network.state_dict().items()
        if not name.startswith(("layer4", "fc")) and not name.endswith("num_batches_tracked")
    }
    save_file(less, tmp_path / "less.safetensors")
    some = Backbone("resnet18", str(tmp_path / "less.safetensors"), RESNET_LAYERS, statistics=Reading.paper)
    whole = Backbone("resnet18", str(weights), RESNET_LAYERS, statistics=Reading.paper)
    for one, other in zip(some(images()), whole(images()), strict=True):
        assert torch.equal(one, other)


def test_an_unknown_network_is_refused_with_names_near_it():
    with pytest.raises(SettingsError, match=r"backbone\.name=resnet1 is not a timm model.*resnet1\d"):
        Backbone("resnet1", "random", [1, 2])


def test_layers_that_the_network_has_not_are_refused():
    with pytest.raises(SettingsError, match=r"backbone\.layers=\[1, 9\].*resnet18"):
        Backbone("resnet18", "random", [1, 9])


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"backbone\.weights=.*none\.safetensors does not exist"):
        Backbone("resnet18", str(tmp_path / "none.safetensors"), RESNET_LAYERS)


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.999])
def test_a_file_that_is_cut_short_is_named(weights: Path, tmp_path: Path, share: float):
    path = tmp_path / "cut.safetensors"
    content = weights.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError, match=r"cut\.safetensors is not a whole \.safetensors file"):
        Backbone("resnet18", str(path), RESNET_LAYERS)


def test_a_pickle_is_never_opened(tmp_path: Path):
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "sprung"),)

    torch.save({"weight": Trap()}, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=r"weights\.pth is not a whole \.safetensors file.*can run code"):
        Backbone("resnet18", str(tmp_path / "weights.pth"), RESNET_LAYERS)
    assert not (tmp_path / "sprung").exists()


def test_weights_of_another_network_are_refused_and_the_keys_named(network: nn.Module, weights: Path, tmp_path: Path):
    with pytest.raises(
        WeightsError,
        match=r"does not fit backbone\.name=efficientnet_b0: conv_stem\.weight \(missing\).*holds \w+\.\w+",
    ):
        Backbone("efficientnet_b0", str(weights), [1, 2])
    odd = network.state_dict() | {"layer1.0.conv1.weight": torch.zeros(64, 64, 1, 1)}
    del odd["layer2.0.bn1.bias"]
    save_file(odd, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError) as caught:
        Backbone("resnet18", str(tmp_path / "odd.safetensors"), RESNET_LAYERS)
    said = str(caught.value)
    assert "layer1.0.conv1.weight ((64, 64, 1, 1) in the file, (64, 64, 3, 3) needed)" in said
    assert "layer2.0.bn1.bias (missing)" in said
    assert "odd.safetensors" in said


def test_without_internet_the_message_says_how_to_get_the_weights(monkeypatch: pytest.MonkeyPatch):
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        if pretrained:
            raise OSError("We couldn't connect to 'https://huggingface.co'")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        WeightsError, match=r"(?s)resnet18 could not be fetched.*couldn't connect.*backbone\.weights=random"
    ):
        Backbone("resnet18", "imagenet", RESNET_LAYERS)
