"""The sum of the T largest pixels, on a CPU, without ranking the others."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cpr_lightning.kernels import kept

_GROUP = 16


def top_sum(pixels: Tensor, count: int) -> Tensor:
    """Sum of the ``count`` largest numbers of each row: (B, N) float32 on the CPU → (B,).

    No more than T groups of pixels hold one of the T largest. The T-th largest maximum of a group bounds them from
    below, and few pixels are as large as that.
    """
    out = np.empty(len(pixels), np.float32)
    _top_sums(pixels.contiguous().numpy(), count, out)
    return torch.from_numpy(out)


def _sums(pixels, count, out):
    for row in range(pixels.shape[0]):
        numbers = pixels[row]
        # A group's pixels lie far apart: the largest pixels of an image lie together, and are to be in many groups.
        groups = len(numbers) // _GROUP
        candidates = numbers
        if groups > count:
            maxima = numbers[:groups].copy()
            for place in range(1, _GROUP):
                others = numbers[place * groups : (place + 1) * groups]
                for group in range(groups):
                    maxima[group] = max(maxima[group], others[group])
            bound = np.partition(maxima, groups - count)[groups - count]
            found = 0
            kept_ones = np.empty(len(numbers), np.float32)
            for number in numbers:
                if not number < bound:  # a nan too, which makes the sum one
                    kept_ones[found] = number
                    found += 1
            candidates = kept_ones[:found]
        smallest = len(candidates) - count
        total = 0.0
        for number in np.partition(candidates, smallest)[smallest:]:
            total += number
        out[row] = total


_top_sums: Any = kept(_sums, parallel=False)
