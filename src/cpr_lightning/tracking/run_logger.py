"""The W&B run of one cell: opened before the training, closed with the cell's exit status whatever happens."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from cpr_lightning.errors import CprError, first_line
from cpr_lightning.files import read_json
from cpr_lightning.settings import Settings
from cpr_lightning.sweeps.record import is_cell
from cpr_lightning.tracking.flat import flat, plain
from cpr_lightning.tracking.opening import open_run, refusal, stay_offline
from cpr_lightning.tracking.publishing import publish

log = logging.getLogger(__name__)

_FAILED, _KILLED = 1, 255  # exit statuses; W&B shows the second as killed
_TAG = 64  # signs that W&B allows


class WandbRunLogger(WandbLogger):
    """Lightning's logger, with a run that it need not open itself, and with what a finished run has to show.

    Args:
        project: where the run goes.
        save_dir: the run directory; W&B's files lie in its ``wandb`` folder.
        name: of the run.
        group: None: the sweep's folder, or the data set where there is no sweep.
        tags: what to filter by.
        offline: keep the run on disk for a later ``wandb sync``; None decides by the environment and the key.
        images: rows of the table of test images, at most.
        artifacts: log the model and the bank as artifacts.
        upload_timeout: seconds to wait, at the end of the run, for what is not sent yet.
        others: arguments of ``wandb.init``.
    """

    def __init__(
        self,
        *,
        project: str,
        save_dir: str,
        name: str,
        group: str | None = None,
        tags: Sequence[Any] = (),
        offline: bool | None = None,
        images: int = 64,
        artifacts: bool = False,
        upload_timeout: float = 300.0,
        **others: Any,
    ) -> None:
        # Lightning's own `offline` would set an environment variable that outlives the run.
        super().__init__(project=project, save_dir=save_dir, name=name)
        self._asked_offline, self._upload_timeout = offline, upload_timeout
        self._images, self._artifacts = images, artifacts
        self._has_earlier = False
        # W&B refuses a run with a tag that is empty, too long, or there twice.
        told = [str(plain(tag))[:_TAG] for tag in tags if tag not in (None, "")]
        self._arguments = {"project": project, "dir": save_dir, "name": name, "group": group} | others
        self._arguments["tags"] = list(dict.fromkeys(told))

    def __getstate__(self) -> dict[str, Any]:
        """For a process of ``trainer=ddp``: Lightning attaches to the open run there."""
        return vars(self) | {"_experiment": None, "_attach_id": getattr(self._experiment, "_attach_id", None)}

    def start(self, settings: Settings, folder: Path) -> bool:
        """Open the run; False where there is none to log to.

        Args:
            settings: of the cell; all of them become the run's configuration.
            folder: the run directory.
        """
        if rank_zero_only.rank:  # pyright: ignore[reportFunctionMemberAccess]
            return True  # one process logs; Lightning keeps the others from it
        arguments = self._arguments | {"config": _configuration(settings, folder)}
        arguments["group"] = arguments["group"] or _group(settings, folder)
        # A run that was interrupted goes on, and a cell that failed is tried again, as the one that it is.
        earlier = _earlier(folder) if settings.resume is not None or is_cell(folder) else None
        if earlier is not None:
            arguments |= {"id": earlier, "resume": "allow"}
        self._has_earlier = earlier is not None
        self._experiment = open_run(arguments, offline=self._asked_offline, upload_timeout=self._upload_timeout)
        return self._experiment is not None

    def publish(self, folder: Path) -> None:
        """Log what the finished cell left in its folder; what goes wrong in it is said, and harms nothing."""
        if self._experiment is None:
            return
        try:
            publish(self._experiment, folder, images=self._images, artifacts=self._artifacts)
        except Exception as error:
            log.warning("The results in %s could not be logged to W&B: %s", folder, first_line(error))

    def close(self, error: BaseException | None) -> None:
        """Close the run, with what ended the cell; an open one would swallow the next cell's values."""
        run, self._experiment = self._experiment, None
        if run is None:
            return
        status = 0 if error is None else _FAILED if isinstance(error, Exception) else _KILLED
        where, online = Path(run.settings.sync_dir), run.settings.mode == "online"
        if online:
            log.info("W&B: sending what is left, for %g s at most.", self._upload_timeout)
        try:
            if isinstance(error, Exception) or self._has_earlier:  # whose error, if there was one, is past
                run.summary["error"] = _told(error)
            run.finish(exit_code=status)
            # It raises where nobody answers, but not where the key has been refused meanwhile.
            trouble = refusal() if online else None
        except Exception as raised:
            trouble = first_line(raised)
        if trouble is not None:
            stay_offline()
            log.warning(
                "W&B did not take all of the run (%s). It is whole on the disk: `wandb sync %s%s` sends it. The runs "
                "that follow in this process are kept offline.",
                trouble, "--include-online " if online else "", where,
            )  # fmt: skip
        elif online:
            log.info("W&B: %s", run.url)
        elif run.settings.mode == "offline":
            log.info("W&B: offline. `wandb sync %s` sends the run.", where)


def _told(error: BaseException | None) -> str | None:
    if not isinstance(error, Exception):
        return None
    return str(error) if isinstance(error, CprError) else repr(error)


def _configuration(settings: Settings, folder: Path) -> dict[str, Any]:
    """All settings and the environment, under dotted keys."""
    environment = folder / "environment.json"
    found = flat(asdict(settings))
    return found | (flat({"environment": read_json(environment)}) if environment.is_file() else {})


def _group(settings: Settings, folder: Path) -> str:
    if is_cell(folder):
        parts = (settings.experiment.name, folder.parent.name)
        return "/".join(part for part in parts if part)[:128]
    return str(settings.dataset.name)


def _earlier(folder: Path) -> str | None:
    """The id of the run that this cell already has: W&B's folders end in it."""
    folders = sorted((folder / "wandb").glob("*run-*-*"), key=lambda path: path.name.partition("run-")[2])
    return folders[-1].name.rpartition("-")[2] if folders else None
