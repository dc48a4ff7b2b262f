"""The frozen feature network: any timm model that gives features at two or more strides."""

import hashlib
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import FeatureInfo
from torch import Tensor, nn

from cpr_lightning.errors import SettingsError, WeightsError, first_line
from cpr_lightning.settings import Reading

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_NOISE_SEED = 66  # the released code's


class Backbone(nn.Module):
    """Raw features 𝔓¹, 𝔓², … of an image. Frozen, always in evaluation mode, cut off after the last layer needed.

    Args:
        name: timm's name of the network.
        weights: ``imagenet`` (fetched by timm), ``random``, or a ``.safetensors`` file with timm's names.
        layers: timm's ``out_indices``, coarsening; (1, 2) are strides 4 and 8.
        seed: of random weights.
        statistics: ``official`` repeats a side effect of the released code, which runs one batch of noise through the
            network to learn its shapes, in training mode: every batch norm's running statistics move a tenth of the way
            to those of noise. The released results were made so. ``paper`` leaves the pretrained statistics alone.
        image_size: pixels on a side of the noise.

    Attributes:
        fingerprint: of the weights and their treatment: backbones with the same one give the same features.

    Raises:
        SettingsError: timm does not know the network or its layers.
        WeightsError: the weights are missing, do not fit, or cannot be fetched.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        weights: str,
        layers: Sequence[int],
        *,
        seed: int = 0,
        statistics: Reading = Reading.official,
        image_size: int = 320,
    ) -> None:
        super().__init__()
        self.network = _create(name, weights, layers, seed)
        # Before the noise: its statistics differ in the last digits from one processor to another.
        self.fingerprint = f"{_hash(self.network)}-{statistics.value}-{image_size}"
        if statistics is Reading.official:
            _run_noise(self.network, name, image_size)
        features = self.network.feature_info
        assert isinstance(features, FeatureInfo)
        self.channels: list[int] = features.channels()
        self.strides: list[int] = features.reduction()
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1))
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "Backbone":
        """Stay in evaluation mode: Lightning's ``fit`` puts every module into training mode."""
        del mode
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> list[Tensor]:
        """Features of images.

        Args:
            images: (B, H, W, 3) uint8, RGB.

        Returns:
            Per layer (B, C, H / stride, W / stride) float32.
        """
        pixels = images.movedim(-1, 1).float().div(255)
        return self.network((pixels - self.mean) / self.std)

    def grid(self, layer: int, image_size: int) -> int:
        """Cells on a side of a layer's feature map."""
        return -(-image_size // self.strides[layer])


def _hash(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _create(name: str, weights: str, layers: Sequence[int], seed: int) -> nn.Module:
    if name not in timm.list_models():
        near = get_close_matches(name, timm.list_models(), n=3)
        raise SettingsError(f"backbone.name={name} is not a timm model. Near it: {', '.join(near) or 'none'}.")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # "getter" cuts the network off behind the last layer, for every family, and keeps timm's own names.
            network = timm.create_model(
                name,
                features_only=True,
                feature_cls="getter",
                out_indices=tuple(layers),
                pretrained=weights == "imagenet",
            )
    except (IndexError, AssertionError, AttributeError) as error:
        raise SettingsError(
            f"backbone.layers={list(layers)} cannot be taken from backbone.name={name}: {error}"
        ) from error
    except (OSError, RuntimeError) as error:
        if weights != "imagenet":
            raise
        raise WeightsError(
            f"The ImageNet weights of {name} could not be fetched from the model hub ({first_line(error)}). "
            f'On a machine with internet run\n  python -c "import timm; from safetensors.torch import save_file; '
            f"save_file(timm.create_model('{name}', pretrained=True).state_dict(), '{name}.safetensors')\"\n"
            f"then copy the file here and pass backbone.weights=PATH/{name}.safetensors "
            "(or backbone.weights=random to try things out)."
        ) from error
    if weights not in ("imagenet", "random"):
        _load(network, name, Path(weights))
    return network


def _run_noise(network: nn.Module, name: str, image_size: int) -> None:
    """What the released code's shape probe does to the running statistics of batch norms."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(_NOISE_SEED)
        timm.create_model(name)  # it draws the noise after the network's initial weights, from the same stream
        noise = torch.randn(2, 3, image_size, image_size)
        network.train()
        network(noise)
        network.eval()


def _load(network: nn.Module, name: str, path: Path) -> None:
    """Load a file with timm's names; it may hold more than the layers needed, never less."""
    if not path.is_file():
        raise WeightsError(
            f"backbone.weights={path} does not exist. Give imagenet, random, or the path of a .safetensors file."
        )
    try:
        loaded = load_file(path)
    except SafetensorError as error:
        raise WeightsError(
            f"backbone.weights={path} is not a whole .safetensors file ({error}). Files of other kinds are not read, "
            "because they can run code; save the state dict with safetensors.torch.save_file."
        ) from error
    needed = network.state_dict()
    prefix = "model."  # timm's feature getter wraps the network under this name
    found = {prefix + key: value for key, value in loaded.items() if prefix + key in needed}
    # An identity batch norm that was folded away may lack its counter; nothing reads it in evaluation mode.
    missing = [key for key in needed if key not in found and not key.endswith("num_batches_tracked")]
    wrong = [key for key, value in found.items() if value.shape != needed[key].shape]
    if missing or wrong:
        listed = [f"{key.removeprefix(prefix)} (missing)" for key in missing]
        listed += [
            f"{key.removeprefix(prefix)} ({tuple(found[key].shape)} in the file, {tuple(needed[key].shape)} needed)"
            for key in wrong
        ]
        raise WeightsError(
            f"backbone.weights={path} does not fit backbone.name={name}: {', '.join(listed[:4])}"
            f"{f' and {len(listed) - 4} more' if len(listed) > 4 else ''}. Name the network the file was saved from."
        )
    network.load_state_dict(found, strict=False)
