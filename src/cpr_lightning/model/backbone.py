"""The frozen feature network: any timm model that gives features at the wished strides."""

import hashlib
from collections.abc import Sequence

import timm
import torch
from torch import Tensor, nn

from cpr_lightning.choices import Reading
from cpr_lightning.model.timm_network import cells, create_network, facts_of, layers_of

_NOISE_SEED = 66  # the released code's


class Backbone(nn.Module):
    """Raw features 𝔓¹, 𝔓², … of an image. Frozen, always in evaluation mode, cut off after the last layer needed.

    Args:
        name: timm's name of the network, with or without the tag of its weights (``convnext_tiny.fb_in22k``).
        weights: ``imagenet`` (fetched by timm), ``random``, or a ``.safetensors`` file with timm's names.
        layers: timm's ``out_indices``; None: found by their strides. Strides 4 and 8 are layers 1 and 2 of most
            networks, 0 and 1 of those that start with patches (ConvNeXt, Swin).
        seed: of random weights.
        statistics: ``official`` repeats a side effect of the released code, which runs one batch of noise through the
            network to learn its shapes, in training mode: every batch norm's running statistics move a tenth of the way
            to those of noise. The released results were made so. ``paper`` leaves the pretrained statistics alone.
        image_size: pixels on a side, of the noise, and of the images of a network with windows or position tables.
        strides: pixels from one cell to the next, per layer, coarsening.

    Attributes:
        fingerprint: of the weights and their treatment: backbones with the same one, ``name`` and ``layers`` give the
            same features.
        layers: those taken.
        mean, std: that images are normalised with, as timm says of the network's weights: ImageNet's for most (all
            networks of the paper), others for some (Inception, MobileViT).

    Raises:
        SettingsError: timm does not know the network, or its layers or the image size do not fit.
        WeightsError: the weights are missing, do not fit, or cannot be fetched.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        weights: str,
        layers: Sequence[int] | None = None,
        *,
        strides: Sequence[int] = (4, 8),
        seed: int = 0,
        statistics: Reading = Reading.official,
        image_size: int = 320,
    ) -> None:
        super().__init__()
        self.name = name
        self.network = create_network(name, weights, layers, strides, seed=seed, image_size=image_size)
        # Before the noise: its statistics differ in the last digits from one processor to another.
        self.fingerprint = f"{_hash(self.network)}-{statistics.value}-{image_size}"
        if statistics is Reading.official:
            _run_noise(self.network, name, image_size)
        taken, facts = layers_of(self.network), facts_of(self.network)
        self.layers: list[int] = list(taken.out_indices)
        self.channels: list[int] = taken.channels()
        self.strides: list[int] = taken.reduction()
        self.register_buffer("mean", torch.tensor(facts["mean"]))
        self.register_buffer("std", torch.tensor(facts["std"]))
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
        pixels = (images.float().div(255) - self.mean) / self.std
        # Last, so that it stands before the first convolution: OpenVINO then takes the pixels as they lie.
        return self.network(pixels.movedim(-1, 1))

    def grid(self, layer: int, image_size: int) -> int:
        """Cells on a side of a layer's feature map."""
        return cells(image_size, self.strides[layer])


def _hash(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _run_noise(network: nn.Module, name: str, image_size: int) -> None:
    """What the released code's shape probe does to the running statistics of batch norms."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(_NOISE_SEED)
        timm.create_model(name)  # it draws the noise after the network's initial weights, from the same stream
        noise = torch.randn(2, 3, image_size, image_size)
        network.train()
        network(noise)
        network.eval()
