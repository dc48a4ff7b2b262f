"""The whole cascade as one CUDA graph.

For one image, launching the hundreds of kernels one by one takes longer than they do.
"""

import torch
from torch import Tensor

from cpr_lightning.errors import SettingsError
from cpr_lightning.model.cascade import CascadeOutput, CascadePatchRetrieval

_WARM_UPS = 3  # compilers, autotuners and cuDNN's choices are through after these


class CascadeGraph:
    """Network, targeting, matching, foreground and post-processing of a batch of fixed size, in one launch.

    Called like the cascade; what it returns is the caller's own. The graph reads the cascade's weights and bank where
    they lay when it was captured: make a new one after the bank has grown. It uses the runtime that the cascade has.

    Args:
        cascade: on a GPU, its bank too.
        batch: images per call.
        image_size: pixels on a side.

    Raises:
        SettingsError: the cascade is not on a GPU, or a part of it cannot be captured.
    """

    def __init__(self, cascade: CascadePatchRetrieval, batch: int, image_size: int) -> None:
        device = cascade.network.codebook.device
        if device.type != "cuda":
            raise SettingsError(f"A CUDA graph needs device=cuda; the cascade is on {device}.")
        self._images = torch.zeros(batch, image_size, image_size, 3, dtype=torch.uint8, device=device)
        # Kept, because the graph reads its memory.
        self._cascade = cascade
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(device), torch.inference_mode():
            self._warm_up()
            try:
                with torch.cuda.graph(self._graph):
                    self._output = cascade(self._images)
            except RuntimeError as error:
                raise SettingsError(
                    f"The cascade cannot be captured as a CUDA graph ({error}). What leaves the GPU cannot be; use "
                    "runtime=eager or runtime=compile, and bank.device=cuda."
                ) from error

    def _warm_up(self) -> None:
        """Work that must not be captured, on a stream of its own as torch asks for: compiling, choosing, caching."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                self._cascade(self._images)
        torch.cuda.current_stream().wait_stream(stream)

    def __call__(self, images: Tensor) -> CascadeOutput:
        """Score (B, H, W, 3) uint8 images, on any device; pinned memory is copied without waiting.

        Raises:
            ValueError: not the number or size of images that the graph was captured for.
        """
        if images.shape != self._images.shape or images.dtype != torch.uint8:
            raise ValueError(
                f"The graph was captured for uint8 images {tuple(self._images.shape)}, not {images.dtype} "
                f"{tuple(images.shape)}."
            )
        with torch.cuda.device(self._images.device), torch.inference_mode():
            self._images.copy_(images, non_blocking=True)
            self._graph.replay()
            # The next replay writes to the same memory.
            return CascadeOutput(*(part.clone() for part in self._output))
