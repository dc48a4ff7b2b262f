"""A timm network that gives features at the wished strides, cut off behind the last of them."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import FeatureInfo
from torch import nn

from cpr_lightning.errors import SettingsError, WeightsError, first_line
from cpr_lightning.model.timm_weights import load_weights, recipe

# What timm's networks raise where a size does not suit them.
_MISFITS = (AssertionError, IndexError, RuntimeError, TypeError, ValueError)


def create_network(
    name: str, weights: str, layers: Sequence[int] | None, strides: Sequence[int], *, seed: int, image_size: int
) -> nn.Module:
    """A network in evaluation mode that gives (B, C, ⌈H/stride⌉, ⌈W/stride⌉) float32 per stride, of any family of timm.

    Args:
        name: timm's name, with or without the tag of its weights (``convnext_tiny.fb_in22k``).
        weights: ``imagenet`` (fetched by timm), ``random``, or a ``.safetensors`` file with timm's names.
        layers: timm's ``out_indices``; None: found by their strides.
        strides: pixels from one cell to the next, per layer.
        seed: of random weights.
        image_size: pixels on a side. Networks with windows or position tables are made for this size and take no other.

    Raises:
        SettingsError: timm does not know the network, or its layers or the image size do not fit.
        WeightsError: the weights are missing, do not fit, or cannot be fetched.
    """
    _check_name(name)
    outline = _outline(name)
    chosen = _choose_layers(name, layers_of(outline), layers, strides)
    about = facts_of(outline)
    if weights == "imagenet" and not timm.is_model_pretrained(name):
        raise WeightsError(
            f"timm has no weights of backbone.name={name}. Take another network, or backbone.weights=FILE.safetensors."
        )
    other_size = f"Take another image_size (it was trained at {about['input_size'][-1]}), or another network."
    # The size of such a network is its own: elsewhere the argument is unknown.
    size = {"img_size": image_size} if about.get("fixed_input_size") else {}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _create(name, chosen, pretrained=weights == "imagenet", **size)
    except (OSError, *_MISFITS) as error:
        if weights != "imagenet" or (size and not isinstance(error, OSError)):
            raise _misfit(name, image_size, first_line(error), other_size) from error
        raise WeightsError(
            f"The ImageNet weights of {name} could not be fetched from the model hub ({first_line(error)}). "
            f"On a machine with internet run\n{recipe(name, size)}\n"
            f"then copy the file here and pass backbone.weights=PATH/{name}.safetensors "
            "(or backbone.weights=random to try things out)."
        ) from error
    network.eval()
    _check_size(network, name, image_size, other_size)
    if weights not in ("imagenet", "random"):
        load_weights(network, name, Path(weights), size)
    return network


def layers_of(network: nn.Module) -> FeatureInfo:
    """What timm says of the layers: channels and strides of those taken, and of all there are."""
    info = network.feature_info
    assert isinstance(info, FeatureInfo)
    return info


def facts_of(network: nn.Module) -> dict[str, Any]:
    """What timm says of how the network was trained: ``mean`` and ``std`` of its pixels, ``input_size`` and more."""
    facts = network.pretrained_cfg
    assert isinstance(facts, dict)
    return facts


def cells(image_size: int, stride: int) -> int:
    """Cells on a side of a feature map."""
    return -(-image_size // stride)


def _check_name(name: str) -> None:
    architecture, _, tag = name.partition(".")
    if architecture not in timm.list_models():
        near = get_close_matches(architecture, timm.list_models(), n=3)
        raise SettingsError(f"backbone.name={name} is not a timm model. Near it: {', '.join(near) or 'none'}.")
    tags = [each.partition(".")[2] for each in timm.list_pretrained(architecture)]
    if tag and tag not in tags:
        raise SettingsError(
            f"backbone.name={name}: timm has no weights {tag} of {architecture}, only {', '.join(tags) or 'none'}."
        )


def _create(name: str, layers: Sequence[int], **options: Any) -> nn.Module:
    # "getter" cuts the network off behind the last layer, for every family, keeps timm's own names, and turns
    # what a network computes with channels last.
    return timm.create_model(name, features_only=True, feature_cls="getter", out_indices=tuple(layers), **options)


def _outline(name: str) -> nn.Module:
    """The network without any numbers in it, to read its layers from."""
    try:
        with torch.device("meta"):
            return _create(name, [-1])  # the last layer: some forget those behind the one taken
    except (AttributeError, *_MISFITS) as error:
        raise SettingsError(
            f"timm gives no features of backbone.name={name} ({first_line(error)}). Take another network."
        ) from error


def _choose_layers(name: str, features: FeatureInfo, layers: Sequence[int] | None, strides: Sequence[int]) -> list[int]:
    wished = list(strides)
    have: list[int] = [layer["reduction"] for layer in features.info]
    last = {stride: layer for layer, stride in enumerate(have)}  # of several at one stride the deepest
    fitting = [last[stride] for stride in wished if stride in last]
    fits = len(fitting) == len(wished)
    if layers is None and fits:
        return fitting
    missing = [layer for layer in layers or [] if not 0 <= layer < len(have)]
    if layers is None:
        problem = f"backbone.name={name} has no features at {_named(stride for stride in wished if stride not in last)}"
    elif missing:
        problem = f"backbone.layers={list(layers)}: backbone.name={name} has no layer {missing[0]}"
    elif [have[layer] for layer in layers] != wished:
        problem = f"backbone.layers={list(layers)} of backbone.name={name} are at {_named(have[i] for i in layers)}"
    else:
        return list(layers)
    if fits:
        advice = f"Take backbone.layers={fitting}, or leave it out: layers are found by their strides."
    elif len(last) >= len(wished):
        advice = f"Take another network, or backbone.strides={sorted(last)[: len(wished)]}."
    else:
        advice = "Take another network."
    raise SettingsError(f"{problem}; backbone.strides={wished} are asked for, and it has {_listed(have)}. {advice}")


def _named(strides: Iterable[int]) -> str:
    numbers = [str(stride) for stride in strides]
    return f"stride{'s' if len(numbers) > 1 else ''} {' and '.join(numbers)}"


def _listed(strides: Sequence[int]) -> str:
    """Such as: layer 0 at stride 4, layers 1 to 3 at stride 8."""
    parts = []
    for stride, group in groupby(range(len(strides)), key=lambda layer: strides[layer]):
        first, *others = group
        parts.append(f"layer{f's {first} to {others[-1]}' if others else f' {first}'} at stride {stride}")
    return ", ".join(parts)


def _check_size(network: nn.Module, name: str, image_size: int, other_size: str) -> None:
    """One empty image through the network: what comes out must be what the bank is laid out for."""
    try:
        with torch.no_grad():
            features = network(torch.zeros(1, 3, image_size, image_size))
    except _MISFITS as error:
        raise _misfit(name, image_size, first_line(error), other_size) from error
    info = layers_of(network)
    for scale, channels, stride in zip(features, info.channels(), info.reduction(), strict=True):
        side = cells(image_size, stride)
        if tuple(scale.shape) != (1, channels, side, side):
            found = " × ".join(map(str, scale.shape[2:]))
            why = f"its features at stride {stride} have {found} cells, not {side} × {side}"
            raise _misfit(name, image_size, why, "Take another network.")


def _misfit(name: str, image_size: int, why: str, otherwise: str) -> SettingsError:
    """The sentence about a size, with the advice that helps nearly always, or ``otherwise`` where it was followed."""
    advice = f"Take a multiple of 32, such as {(image_size // 32 + 1) * 32}." if image_size % 32 else otherwise
    return SettingsError(f"image_size={image_size} does not fit backbone.name={name}: {why.rstrip('.')}. {advice}")
