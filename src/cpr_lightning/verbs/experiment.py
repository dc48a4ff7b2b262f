"""What an experiment (``conf/experiment``) adds once all of its runs are done: speeds, pictures and the table."""

import logging
from collections.abc import Sequence
from pathlib import Path

from cpr_lightning.choices import Figure, Kind
from cpr_lightning.errors import CprError
from cpr_lightning.files import read_json
from cpr_lightning.runs import load_settings
from cpr_lightning.verbs import benchmark, figure, report

log = logging.getLogger(__name__)


def finish(runs: Sequence[Path], folder: Path) -> bool:
    """Measure, draw and report as the runs' settings say (``experiment.…``), each as the verb of that name does it.

    Args:
        runs: the finished ones.
        folder: of all of them.

    Returns:
        Whether something failed; the rest was done all the same.
    """
    settings = load_settings(runs[0])
    wanted = settings.experiment
    commands = []
    # After all of training, one after another: nothing else then wants the machine.
    if wanted.benchmark:
        keys = [f"device={settings.device}", f"runs={wanted.benchmark_runs}"]
        # Those of a sweep that was resumed may have been measured before.
        unmeasured = [run for run in runs if not _is_newer(run / "benchmark.json", run / "metrics.json")]
        commands += [(benchmark.main, [f"run={run}", *keys]) for run in unmeasured]
    for drawn in wanted.figures:
        if drawn is Figure.speed:
            commands.append((figure.main, [drawn.value, f"runs={folder}"]))
        else:
            shown = [run for run in runs if drawn is not Figure.foreground or _has_foreground(run)]
            commands += [(figure.main, [drawn.value, f"run={run}", f"device={settings.device}"]) for run in shown]
    if wanted.report:
        commands.append((report.main, [f"runs={folder}"]))
    failed = False
    for verb, words in commands:
        log.info("cpr %s %s", verb.__module__.rpartition(".")[2], " ".join(words))
        try:
            failed |= verb(words) != 0
        except CprError as error:
            log.error("%s", error)
            failed = True
    return failed


def _has_foreground(run: Path) -> bool:
    """Textures have none, and that is no failure."""
    return read_json(run / "metrics.json")["kind"] != Kind.texture.value


def _is_newer(path: Path, than: Path) -> bool:
    return path.is_file() and path.stat().st_mtime >= than.stat().st_mtime
