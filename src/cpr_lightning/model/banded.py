"""Linear maps of rows and of columns, as resizes and blurs are: in a matrix of theirs, most numbers are zero.

What comes out for one place depends on the few places around it; on a CPU a kernel goes over these alone.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cpr_lightning.kernels import kept


class Band(NamedTuple):
    """A linear map of one side, before → after.

    Attributes:
        matrix: (after, before) float32.
        transposed: (before, after), the same.
        from_column, to_column: (after,) int64, where the numbers of each row that are not zero begin and end.
        from_row, to_row: (before,) int64, the same for each column.
    """

    matrix: Tensor
    transposed: NDArray[np.float32]
    from_column: NDArray[np.int64]
    to_column: NDArray[np.int64]
    from_row: NDArray[np.int64]
    to_row: NDArray[np.int64]


def band(matrix: Tensor, device: torch.device) -> Band:
    """A (after, before) matrix, ready to be applied on a device."""
    numbers = matrix.float().contiguous().cpu().numpy()
    return Band(matrix.float().contiguous().to(device), numbers.T.copy(), *_ends(numbers), *_ends(numbers.T))


def apply(rows: Band, maps: Tensor, columns: Band) -> Tensor:
    """Rows and columns of maps through a linear map each: (B, h, w) float32 → (B, H, W)."""
    if maps.device.type != "cpu":
        return rows.matrix @ maps @ columns.matrix.T
    out = np.empty((len(maps), len(rows.matrix), len(columns.matrix)), np.float32)
    ends = (rows.from_column, rows.to_column, columns.from_row, columns.to_row)
    _apply(rows.matrix.numpy(), maps.contiguous().numpy(), columns.transposed, *ends, out)
    return torch.from_numpy(out)


def _ends(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and one behind the last column that is not zero, of each row."""
    there = matrix != 0
    first = there.argmax(1)
    return first, np.where(there.any(1), matrix.shape[1] - there[:, ::-1].argmax(1), first)


# One thread: to wake another takes as long as half of the work.
def _sweep(rows, maps, columns, from_column, to_column, from_row, to_row, out):
    width = maps.shape[2]
    line = np.empty(width, np.float32)
    for image in range(maps.shape[0]):
        for y in range(out.shape[1]):
            line[:] = 0
            for j in range(from_column[y], to_column[y]):
                weight, before = rows[y, j], maps[image, j]
                for x in range(width):
                    line[x] += weight * before[x]
            after = out[image, y]
            after[:] = 0
            # Four at a time, for then what comes out is read and written a fourth as often.
            for k in range(0, width - 3, 4):
                first = min(from_row[k], from_row[k + 1], from_row[k + 2], from_row[k + 3])
                last = max(to_row[k], to_row[k + 1], to_row[k + 2], to_row[k + 3])
                a, b, c, d = line[k], line[k + 1], line[k + 2], line[k + 3]
                by_a, by_b = columns[k, first:last], columns[k + 1, first:last]
                by_c, by_d = columns[k + 2, first:last], columns[k + 3, first:last]
                part = after[first:last]
                for x in range(len(part)):
                    part[x] += a * by_a[x] + b * by_b[x] + c * by_c[x] + d * by_d[x]
            for k in range(width - width % 4, width):
                value, first = line[k], from_row[k]
                part, by = after[first : to_row[k]], columns[k, first : to_row[k]]
                for x in range(len(part)):
                    part[x] += value * by[x]


_apply: Any = kept(_sweep, parallel=False, fastmath={"contract"})
