"""Shooting: the δ-windowed nearest neighbor of every query cell on the K references (eq. 9–10, Algorithm 2 line 5).

The contract, and the choice of the kernel that fulfils it: :mod:`.window_cpu` (numba) or :mod:`.window_cuda` (Triton).
:mod:`.window_plain` says in torch what they compute.
"""

from importlib.util import find_spec
from typing import NamedTuple

from torch import Tensor

from cpr_lightning.errors import SettingsError
from cpr_lightning.retrieval.stored import Stored


class WindowMatch(NamedTuple):
    """The best match of every query cell: where it lies is the evidence behind a score."""

    distance: Tensor  # (B, H, W) float32, cosine distance in [0, 2]
    place: Tensor  # (B, H, W) int64, (neighbor · H + row) · W + column of the matching cell; (B, 0, 0) if not asked for

    @property
    def neighbor(self) -> Tensor:
        """(B, H, W) int64, which of the K references, 0 = nearest."""
        return self.place // (self.place.shape[-2] * self.place.shape[-1])

    @property
    def row(self) -> Tensor:
        """(B, H, W) int64, row of the matching cell on that reference."""
        return self.place // self.place.shape[-1] % self.place.shape[-2]

    @property
    def column(self) -> Tensor:
        """(B, H, W) int64."""
        return self.place % self.place.shape[-1]


def match_window(
    query: Tensor, references: Stored, neighbors: Tensor, window: int, *, places: bool = True
) -> WindowMatch:
    """Find each query cell's nearest reference cell among those at about the same place.

    The references are read where the bank holds them. Nothing of the size of a reference image is ever made, least of
    all the tensor of K · D · window² · H · W numbers of a plain ``unfold`` (1.8 GB at the default sizes).

    Args:
        query: (B, H, W, D), unit length over D, any floating type and layout.
        references: one scale of the bank, on the query's device.
        neighbors: (B, K) int64 rows of ``references``, nearest first, on any device.
        window: cells on a side, odd. Cells outside the image never match.
        places: whether to say where the matches lie; scoring has no need of it, and is faster without.

    Returns:
        The match of least distance ``1 − cosine``. Ties go to the nearer neighbor, then to the earlier cell.

    Raises:
        ValueError: shapes do not fit, or the window is even.
    """
    _check(query, references, neighbors, window)
    # Loaded when asked for: compilers take a second to import.
    if query.is_cuda:
        if find_spec("triton") is None:
            raise SettingsError(
                "device=cuda matches with Triton, which is not installed. Install triton, or use device=cpu."
            )
        from cpr_lightning.retrieval.window_cuda import match_window_cuda

        return match_window_cuda(query, references, neighbors, window, places=places)
    from cpr_lightning.retrieval.window_cpu import match_window_cpu

    return match_window_cpu(query, references, neighbors, window, places=places)


def _check(query: Tensor, references: Stored, neighbors: Tensor, window: int) -> None:
    expected = (*references.grid, references.dim)
    if query.ndim != 4 or tuple(query.shape[1:]) != expected:
        raise ValueError(f"The query is {tuple(query.shape)} (B, H, W, D), the references (N, {str(expected)[1:]}.")
    if window < 1 or window % 2 == 0:
        raise ValueError(f"A window has an odd number of cells on a side, not {window}.")
    if neighbors.ndim != 2 or len(neighbors) != len(query):
        raise ValueError(f"{len(query)} queries need neighbors (B, K), not {tuple(neighbors.shape)}.")
    if neighbors.shape[1] == 0:
        raise ValueError("There is no neighbor to match with.")
