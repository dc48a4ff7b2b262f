"""One scale of the reference bank as it lies in memory, for the kernels that read it there."""

from typing import NamedTuple

import torch
from torch import Tensor

from cpr_lightning.choices import Codec


class Stored(NamedTuple):
    """References of one scale in the bank's own storage. Never write to it; it is of no use once the bank has grown.

    Attributes:
        codes: (N, H, W, bytes or numbers of a vector): float32 (flat), float16 (fp16) or uint8 (sq8, pq).
        codec: what the codes are.
        dim: D, numbers of a decoded vector.
        scale: (D,) float32 and ``offset`` (D,) of sq8: a number is ``scale · code + offset``. Else None.
        codebook: (M, 256, D / M) float32 of pq: byte m of a code names row ``codebook[m, byte]``. Else None.
    """

    codes: Tensor
    codec: Codec
    dim: int
    scale: Tensor | None = None
    offset: Tensor | None = None
    codebook: Tensor | None = None

    @classmethod
    def of(cls, vectors: Tensor) -> "Stored":
        """(N, H, W, D) float32 or float16 as it is."""
        return cls(vectors, Codec.fp16 if vectors.dtype == torch.float16 else Codec.flat, vectors.shape[3])

    @property
    def grid(self) -> tuple[int, int]:
        """(H, W) in cells."""
        return self.codes.shape[1], self.codes.shape[2]

    def decode(self, rows: Tensor) -> Tensor:
        """References ``rows`` (K,) as (K, H, W, D) float32: a copy, for tests and for what is not in a hurry."""
        codes = self.codes[rows]
        if self.codebook is not None:
            parts = [self.codebook[part, codes[..., part].long()] for part in range(len(self.codebook))]
            return torch.cat(parts, dim=-1)
        if self.scale is not None and self.offset is not None:
            return codes.float() * self.scale + self.offset
        return codes.float()

    def to(self, device: torch.device, rows: Tensor | None = None) -> "Stored":
        """Codes and tables on another device: all references, or copies of some, ``rows`` (K,)."""
        codes = self.codes if rows is None else self.codes[rows.to(self.codes.device)]
        tables = (None if table is None else table.to(device) for table in (self.scale, self.offset, self.codebook))
        return Stored(codes.to(device), self.codec, self.dim, *tables)
