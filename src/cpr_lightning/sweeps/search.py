"""Choosing what to try next, with Optuna, from what was tried before."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cpr_lightning.errors import SettingsError
from cpr_lightning.files import write_csv
from cpr_lightning.sweeps.words import Swept

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

SCORE = "validation_score"
_AVERAGED = ("dataset", "category", "seed")  # a trial runs all of them, and has their mean


@dataclass(frozen=True)
class Trial:
    """Settings to try.

    Attributes:
        number: from 0.
        words: that make them.
    """

    number: int
    words: tuple[str, ...]


def dimensions(swept: Sequence[Swept]) -> list[Swept]:
    """The keys to choose values for."""
    return [each for each in swept if (len(each.words) > 1 or each.endless) and each.key not in _AVERAGED]


class Optuna:
    """A search in Optuna's tree of Parzen estimators. What was tried is kept in the sweep's folder.

    Args:
        trials: to make, with those that are kept there.
        at_once: trials that are chosen together, not knowing of each other.
        seed: of the choice.
    """

    def __init__(self, trials: int = 40, at_once: int = 1, seed: int = 0) -> None:
        self.trials, self.at_once, self.seed = trials, at_once, seed
        self._swept: list[Swept] = []

    def check(self) -> None:
        """Refuse what cannot be used.

        Raises:
            SettingsError: an argument makes no sense, or Optuna is not installed.
        """
        for key, value in (("trials", self.trials), ("at_once", self.at_once)):
            if type(value) is not int or value < 1:
                raise SettingsError(f"search.{key}={value} must be a whole number, 1 or more.")
        if type(self.seed) is not int or self.seed < 0:
            raise SettingsError(f"search.seed={self.seed} must be a whole number, 0 or more.")
        if find_spec("optuna") is None:
            raise SettingsError(
                'search=optuna needs the package optuna, which is not installed: pip install "cpr-lightning[optuna]".'
            )

    def open(self, folder: Path, swept: Sequence[Swept]) -> None:
        """Go on with what was tried in ``folder``, or begin.

        Args:
            folder: of the sweep.
            swept: what to choose.
        """
        import optuna
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / "study.journal")))
        self._study = optuna.create_study(
            study_name="search", storage=storage, direction="maximize", load_if_exists=True
        )
        # The seed alone would choose the first trials again when a search is gone on with.
        self._study.sampler = optuna.samplers.TPESampler(seed=self.seed + len(self._study.trials))
        self._swept = list(swept)

    def next(self) -> list[Trial]:
        """The trials to run now: first those that were interrupted; none at the end."""
        running = [trial for trial in self._study.trials if not trial.state.is_finished()]
        wanted = min(self.at_once, self.trials - len(self._study.trials) + len(running))
        chosen = [Trial(trial.number, self._words(trial)) for trial in running[:wanted]]
        for _ in range(wanted - len(chosen)):
            trial = self._study.ask()
            chosen.append(Trial(trial.number, self._words(trial)))
        return chosen

    def tell(self, trial: Trial, score: float | None, folder: Path) -> None:
        """What came of a trial; None: it failed. All of them are written to ``search.csv``."""
        from optuna.trial import TrialState

        state = TrialState.FAIL if score is None else TrialState.COMPLETE
        self._study.tell(trial.number, score, state=state, skip_if_finished=True)
        rows = [
            [str(each.number), "" if each.value is None else repr(each.value), " ".join(self._words(each))]
            for each in self._study.trials
            if each.state.is_finished()
        ]
        write_csv(folder / "search.csv", ["trial", SCORE, "settings"], rows)

    def best(self, most: int) -> list[tuple[float, Trial]]:
        """The trials with the highest scores, the best first."""
        done = [trial for trial in self._study.trials if trial.value is not None]
        ranked = sorted(done, key=lambda trial: -(trial.value or 0.0))[:most]
        return [(trial.value or 0.0, Trial(trial.number, self._words(trial))) for trial in ranked]

    def _words(self, trial: "BaseTrial") -> tuple[str, ...]:
        """The words of a trial; of a new one, they are chosen by this."""
        return tuple(_word(trial, each) for each in self._swept)


def _word(trial: "BaseTrial", swept: Swept) -> str:
    key, between = swept.key, swept.between
    if key in trial.params:
        value = trial.params[key]
    elif between is None:
        value = trial.suggest_categorical(key, list(swept.words))
    elif isinstance(between.low, int) and isinstance(between.step or 1, int):
        value = trial.suggest_int(key, between.low, int(between.high), step=int(between.step or 1), log=between.log)
    else:
        value = trial.suggest_float(key, between.low, between.high, step=between.step, log=between.log)
    return str(value) if between is None else f"{key}={value!r}"
