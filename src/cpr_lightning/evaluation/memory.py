"""How much memory scoring takes: resident memory of this process on a CPU, allocations on a GPU."""

import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from cpr_lightning.model.cascade import CascadePatchRetrieval

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")  # "5" written to it makes the peak of the resident memory start anew
_MB = 2**20


def peak_mb(device: torch.device) -> float:
    """The most memory that was taken since :func:`restart_peak` (where the system cannot restart: ever), in MB.

    The pages of a bank that is mapped from disk count as far as they were read.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MB
    if _STATUS.is_file():
        # Not ru_maxrss: a process inherits that from the one that started it.
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MB if sys.platform == "darwin" else peak / 1024


def restart_peak(device: torch.device) -> bool:
    """Forget the peak so far, so that what was needed to set up does not count; False where the system cannot."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        _RESET.write_text("5", encoding="ascii")
    except OSError:  # not Linux, or a container that forbids it: there is no other way
        return False
    return True


def query_mb(cascade: CascadePatchRetrieval, images: Tensor) -> float | None:
    """What scoring a batch takes beyond the network and the bank, in MB; None where the peak cannot be restarted.

    Args:
        cascade: ready to score.
        images: (B, H, W, 3) uint8 on its device.
    """

    def peak_of(work: Callable[[], object]) -> float:
        restart_peak(images.device)
        work()
        return peak_mb(images.device)

    @torch.inference_mode()
    def network() -> None:
        cascade.run_network(images)

    cascade(images)  # the bank's pages of these neighbors are in memory from here on, in both of what is compared
    if not restart_peak(images.device):
        return None
    alone = peak_of(network)
    return max(0.0, peak_of(lambda: cascade(images)) - alone)
