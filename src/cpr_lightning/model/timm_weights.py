"""Weights of a timm network from a file, and how such a file is made."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from cpr_lightning.errors import WeightsError

_COUNTER = "num_batches_tracked"
_PREFIX = "model."  # timm's feature getter wraps the network under this name


def recipe(name: str, size: dict[str, int]) -> str:
    """The command that writes a file of timm's weights."""
    options = "".join(f", {key}={value}" for key, value in size.items())
    return (
        '  python -c "import timm; from safetensors.torch import save_file; '
        f"save_file(timm.create_model('{name}', pretrained=True{options}).state_dict(), '{name}.safetensors')\""
    )


def load_weights(network: nn.Module, name: str, path: Path, size: dict[str, int]) -> None:
    """Load a file with timm's names; it may hold more than the layers needed, never less.

    Args:
        network: timm's feature getter.
        name: timm's name of it.
        path: a ``.safetensors`` file.
        size: timm's argument for the image size, of a network that is made for one.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
    """
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
    needed = {key.removeprefix(_PREFIX): value for key, value in network.state_dict().items()}
    found = {key: value for key, value in loaded.items() if key in needed}
    # An identity batch norm that was folded away may lack its counter; nothing reads it in evaluation mode.
    missing = [key for key in needed if key not in found and not key.endswith(_COUNTER)]
    wrong = [key for key, value in found.items() if value.shape != needed[key].shape]
    if missing or wrong:
        listed = [f"{key} (missing)" for key in missing]
        listed += [f"{key} ({tuple(found[key].shape)} in the file, {tuple(needed[key].shape)} needed)" for key in wrong]
        spare = [key for key in loaded if key not in needed and not key.endswith(_COUNTER)]
        raise WeightsError(
            f"backbone.weights={path} does not fit backbone.name={name}: {', '.join(listed[:4])}"
            f"{f' and {len(listed) - 4} more' if len(listed) > 4 else ''}"
            f"{f'; the file holds {spare[0]} instead' if missing and spare else ''}. "
            "Name the network the file was saved from"
            + (f", and save it for this image_size:\n{recipe(name, size)}" if size else ".")
        )
    network.load_state_dict({_PREFIX + key: value for key, value in found.items()}, strict=False)
