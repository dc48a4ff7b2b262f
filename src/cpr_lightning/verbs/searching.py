"""``cpr train -m search=optuna``: a sweep whose cells are chosen one after another, by their validation score."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

from omegaconf import DictConfig
from rich.table import Table

from cpr_lightning.build import build
from cpr_lightning.errors import RunError, SettingsError
from cpr_lightning.sweeps.cell import State
from cpr_lightning.sweeps.engines.engine import Engine
from cpr_lightning.sweeps.expansion import expand
from cpr_lightning.sweeps.plan import plan
from cpr_lightning.sweeps.record import going_on, open_sweep
from cpr_lightning.sweeps.running import run_cells
from cpr_lightning.sweeps.search import SCORE, Optuna, Trial, dimensions
from cpr_lightning.sweeps.status import finished
from cpr_lightning.sweeps.words import all_words, parse
from cpr_lightning.terminal import print_table

_SHOWN = 10


def search(words: Sequence[str], first: DictConfig, engine: Engine, folder: Path) -> int:
    """Try settings until there were enough trials; see :func:`cpr_lightning.verbs.sweeping.sweep`.

    Args:
        words: the overrides of the command.
        first: the first cell, as composed.
        engine: runs the cells of a trial, and trials that were chosen together.
        folder: of the sweep.
    """
    if first.validation.images < 1:
        raise SettingsError(
            f"search: validation.images={first.validation.images} leaves no image for the {SCORE}, by which settings "
            "are chosen without the test set. Give validation.images=10, say."
        )
    swept = parse(all_words(words, first))
    chosen = dimensions(swept)
    if not chosen:
        raise SettingsError(
            "search: there is nothing to choose. Give keys several values or an interval, as in branch.dim=16,64 or "
            "'training.learning_rate=tag(log,interval(1e-4,1e-2))'."
        )
    keys = {each.key for each in chosen}
    kept = [each.line for each in swept if each.key not in keys]
    # Whatever the words compose is checked with the first values, before anything is run.
    cells = expand([*kept, *(each.words[0] for each in chosen)], folder)
    tried: Optuna = build(dict(first.search))
    tried.check()
    if first.sweep.dry:
        print(f"{tried.trials} trials of {len(cells)} cells in {folder}, choosing {', '.join(sorted(keys))}")
        return 0
    open_sweep(folder, words, resume=first.sweep.resume)
    tried.open(folder, chosen)
    failed = False
    try:
        while trials := tried.next():
            for trial, score in zip(trials, _scores(trials, kept, engine, folder), strict=True):
                tried.tell(trial, score, folder)
                failed |= score is None
                told = "failed" if score is None else f"{SCORE} {score:.4f}"
                print(f"[{trial.number + 1}/{tried.trials}] {told}  {' '.join(trial.words)}", flush=True)
    except KeyboardInterrupt:
        print(f"cpr: go on with the same command and {going_on(folder)}", file=sys.stderr)
        raise
    best = tried.best(_SHOWN)
    if not best:
        raise RunError(f"No trial of the search in {folder} could be run; see status.json in the folders of its cells.")
    _print(best, folder)
    return 1 if failed else 0


def _scores(trials: Sequence[Trial], kept: Sequence[str], engine: Engine, folder: Path) -> list[float | None]:
    """The mean score over each trial's cells; None where one of them failed."""
    cells, owners = [], []
    for place, trial in enumerate(trials):
        made = expand([*kept, *trial.words], folder, prefix=f"trial{trial.number:04}_")
        cells += [replace(cell, number=len(cells) + number) for number, cell in enumerate(made)]
        owners += [place] * len(made)
    planned = plan(cells, folder)
    outcomes = run_cells(engine, planned) if planned.left else []
    metrics = {cell.number: finished(cell.folder) for cell in planned.done}
    metrics |= {each.number: dict(each.metrics) for each in outcomes if each.state is State.done}
    scores: list[float | None] = []
    for place in range(len(trials)):
        of_trial = [(metrics.get(number) or {}).get(SCORE) for number, owner in enumerate(owners) if owner == place]
        known = [value for value in of_trial if value is not None]
        scores.append(mean(known) if len(known) == len(of_trial) else None)
    return scores


def _print(best: Sequence[tuple[float, Trial]], folder: Path) -> None:
    table = Table(title="The best trials, by the validation score")
    for head in ("trial", SCORE, *(word.partition("=")[0] for word in best[0][1].words)):
        table.add_column(head, justify="right")
    for score, trial in best:
        table.add_row(str(trial.number), f"{score:.4f}", *(_short(word.partition("=")[2]) for word in trial.words))
    print_table(table)
    # Printed plainly, to be copied.
    print(f"Best       {' '.join(best[0][1].words)}")
    print(f"Trials     {folder / 'search.csv'}")
    print(f"Runs       {folder}")


def _short(value: str) -> str:
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value
