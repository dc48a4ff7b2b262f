"""What is learned offline from one category's references: codebook, histograms, neighbors, foreground.

It depends on the images, the backbone and the settings alone, so every run with the same ones shares it.
"""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cpr_lightning.errors import RunError
from cpr_lightning.files import write_tensors


@dataclass(frozen=True)
class ReferenceIndex:
    """The offline knowledge of R references. All tensors are on the CPU.

    Attributes:
        codebook: (clusters, C) float32.
        histograms: (R, S², clusters + 1) float32.
        neighbors: (R, K) int64, each reference's nearest others, nearest first, itself excluded.
        foreground_weight: (C,) float32 and ``foreground_bias`` () of the 1×1 convolution, or None (no foreground).
        foreground_maps: (R, h, w) float32 raw foreground of every reference, or None.
    """

    codebook: Tensor
    histograms: Tensor
    neighbors: Tensor
    foreground_weight: Tensor | None = None
    foreground_bias: Tensor | None = None
    foreground_maps: Tensor | None = None

    def __post_init__(self) -> None:
        references = len(self.histograms)
        if len(self.neighbors) != references:
            raise ValueError(f"{references} histograms, but neighbors of {len(self.neighbors)} references.")
        if self.foreground_maps is not None and len(self.foreground_maps) != references:
            raise ValueError(f"{references} histograms, but {len(self.foreground_maps)} foreground maps.")

    def __len__(self) -> int:
        """Number of references."""
        return len(self.histograms)

    def save(self, path: Path) -> None:
        """Write one safetensors file, whole or not at all."""
        write_tensors(path, {name: value for name, value in vars(self).items() if value is not None})

    @classmethod
    def load(cls, path: Path) -> "ReferenceIndex":
        """Read what :meth:`save` wrote.

        Raises:
            RunError: the file is missing, cut short or of another version.
        """
        if not path.is_file():
            raise RunError(f"{path} is missing: the run is incomplete. Train it again, or finish it with resume=.")
        try:
            return cls(**load_file(path))
        except (SafetensorError, TypeError, ValueError) as error:
            raise RunError(
                f"{path} cannot be read as an index of references ({error}); it is damaged or of another version. "
                "Train again; if it lies in the index cache, delete it first."
            ) from error
