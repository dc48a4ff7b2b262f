"""``cpr train -m``: many runs with one command."""

import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from cpr_lightning.build import build
from cpr_lightning.errors import RunError, SettingsError
from cpr_lightning.sweeps.cell import Outcome, State
from cpr_lightning.sweeps.expansion import expand
from cpr_lightning.sweeps.foresight import foretell
from cpr_lightning.sweeps.leaderboard import print_leaderboard
from cpr_lightning.sweeps.plan import Plan, plan
from cpr_lightning.sweeps.record import find_sweep, going_on, open_sweep
from cpr_lightning.sweeps.running import run_cells
from cpr_lightning.sweeps.status import finished
from cpr_lightning.sweeps.words import all_words, parse
from cpr_lightning.verbs.experiment import finish
from cpr_lightning.verbs.searching import search

_NAMED = 5  # failed cells
_NOT_OURS = ("hydra/launcher", "hydra/sweeper", "hydra.launcher", "hydra.sweeper.max_batch_size")


def sweep(words: Sequence[str], first: DictConfig) -> int:
    """Run all cells that are not done yet; the others go on when one fails.

    Args:
        words: the overrides of the command.
        first: the first cell, as composed.

    Returns:
        The exit status: 1 when something failed or was skipped, 2 when no cell is done.

    Raises:
        SettingsError: a cell makes no sense, or the folder is another sweep's; no cell has been started.
    """
    for word in words:
        if word.lstrip("+~").startswith(_NOT_OURS):
            raise SettingsError(f"{word}: sweeps are run by launcher=… here (conf/launcher), not by Hydra's plugins.")
    for each in parse(words):
        if each.key == "experiment" and len(each.words) > 1:
            raise SettingsError(f"{each.line}: an experiment brings the sweep that it is; run one after another.")
    engine = build(dict(first.launcher))
    engine.check()
    folder = _folder(words, first)
    if first.search:
        return search(words, first, engine, folder)
    cells = expand(all_words(words, first), folder)
    if first.sweep.dry:
        planned = plan(cells, folder)
        _list(planned, folder)
        _warn(planned)
        return 0
    open_sweep(folder, words, resume=first.sweep.resume)
    planned = plan(cells, folder)
    print(f"{len(cells)} cells in {folder}: {len(planned.done)} done, {len(planned.left)} to run", flush=True)
    _warn(planned)
    try:
        outcomes = run_cells(engine, planned)
    except KeyboardInterrupt:
        print(f"cpr: go on with the same command and {going_on(folder)}", file=sys.stderr)
        raise
    return _ended(planned, outcomes, folder)


def _folder(words: Sequence[str], first: DictConfig) -> Path:
    """Of the sweep: to be resumed without a folder means the newest that this command has made."""
    folder = Path(first.hydra.sweep.dir).expanduser().absolute()
    if not first.sweep.resume or any(word.startswith("hydra.sweep.dir=") for word in words):
        return folder
    found = find_sweep(folder.parent, words)
    if found is None:
        print(f"No sweep of this command in {folder.parent}: all of it is run.")
    return found or folder


def _list(planned: Plan, folder: Path) -> None:
    """What would be run."""
    for head, cells in (("done", planned.done), ("to run", planned.left)):
        for cell in cells:
            print(f"{head:<6}  {cell.folder.relative_to(folder)}  {' '.join(cell.words)}")
    total = len(planned.done) + len(planned.left)
    print(f"{total} cells in {folder}: {len(planned.done)} done, {len(planned.left)} to run")


def _warn(planned: Plan) -> None:
    for sentence in foretell(planned.left):
        print(f"cpr: {sentence}", file=sys.stderr, flush=True)


def _ended(planned: Plan, outcomes: Sequence[Outcome], folder: Path) -> int:
    """Say how it went; measure, draw and report what the experiment asks for."""
    before = [Outcome(cell.number, State.done, metrics=finished(cell.folder) or {}) for cell in planned.done]
    done = [*before, *(outcome for outcome in outcomes if outcome.state is State.done)]
    failed = [outcome for outcome in outcomes if outcome.state is State.failed]
    cells = {cell.number: cell for cell in [*planned.done, *planned.left]}
    if not done:
        raise RunError(f"No cell of the sweep in {folder} could be run. The first: {failed[0].error}")
    print_leaderboard(list(cells.values()), done)
    print(f"Runs       {folder}")
    if failed:
        logs = ", ".join(str(cells[each.number].folder / "train.log") for each in failed[:_NAMED])
        print(
            f"cpr: {len(failed)} of {len(cells)} cells failed (see {logs}{', …' if len(failed) > _NAMED else ''}). The "
            "same command with sweep.resume=true tries them again.", file=sys.stderr,
        )  # fmt: skip
    incomplete = finish([cells[number].folder for number in sorted(each.number for each in done)], folder)
    return 1 if failed or incomplete or any(each.metrics.get("n_skipped") for each in done) else 0
