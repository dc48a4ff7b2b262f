"""W&B logging that needs no account."""

import logging
import os
from typing import Any

from lightning.pytorch.loggers import WandbLogger

log = logging.getLogger(__name__)


def wandb_logger(*, offline: bool | None = None, **arguments: Any) -> WandbLogger:
    """A Weights & Biases logger; offline where no key is known, so that a run never stops to ask for one.

    Args:
        offline: keep the run on disk for a later ``wandb sync``; None decides by whether there is a key.
        arguments: of Lightning's ``WandbLogger``.
    """
    if offline is None:
        import wandb

        offline = wandb.api.api_key is None and "WANDB_MODE" not in os.environ
        if offline:
            log.info("No W&B key: logging offline; `wandb sync` sends the run later.")
    return WandbLogger(offline=offline, **arguments)
