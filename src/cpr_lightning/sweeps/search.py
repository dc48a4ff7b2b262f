"""Choosing what to try next, with Optuna, from what was tried before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpr_lightning.errors import SettingsError
from cpr_lightning.files import write_csv
from cpr_lightning.sweeps.words import Swept

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

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
        self._space: dict[str, BaseDistribution] = {}

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

        Raises:
            SettingsError: something else was chosen there.
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
        self._space = {each.key: _distribution(each) for each in swept}
        for trial in self._study.trials:
            changed = any(self._space.get(key) != values for key, values in trial.distributions.items())
            if changed or (trial.value is not None and len(trial.distributions) < len(self._space)):
                raise SettingsError(
                    f"The search in {folder} chooses other keys or values ({', '.join(trial.distributions)} in trial "
                    f"{trial.number}). Give the command with which it was made, or choose another hydra.sweep.dir=."
                )

    def next(self) -> list[Trial]:
        """The trials to run now: first those that were interrupted; none at the end."""
        from optuna.trial import TrialState

        running = []
        for trial in self._study.trials:
            if trial.state.is_finished():
                continue
            if trial.params.keys() == self._space.keys():
                running.append(trial)
            else:  # the search was killed while it chose this one's values
                self._study.tell(trial.number, state=TrialState.FAIL)
        wanted = min(self.at_once, self.trials - len(self._study.trials) + len(running))
        chosen = [Trial(trial.number, _words(trial.params)) for trial in running[:wanted]]
        for _ in range(wanted - len(chosen)):
            trial = self._study.ask(self._space)
            chosen.append(Trial(trial.number, _words(trial.params)))
        return chosen

    def tell(self, trial: Trial, score: float | None, folder: Path) -> None:
        """What came of a trial; None: it failed. All of them are written to ``search.csv``."""
        from optuna.trial import TrialState

        state = TrialState.FAIL if score is None else TrialState.COMPLETE
        self._study.tell(trial.number, score, state=state, skip_if_finished=True)
        rows = [
            [str(each.number), "" if each.value is None else repr(each.value), " ".join(_words(each.params))]
            for each in self._study.trials
            if each.state.is_finished()
        ]
        write_csv(folder / "search.csv", ["trial", SCORE, "settings"], rows)

    def best(self, most: int) -> list[tuple[float, Trial]]:
        """The trials with the highest scores, the best first."""
        done = [trial for trial in self._study.trials if trial.value is not None]
        ranked = sorted(done, key=lambda trial: -(trial.value or 0.0))[:most]
        return [(trial.value or 0.0, Trial(trial.number, _words(trial.params))) for trial in ranked]


def _distribution(swept: Swept) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    between = swept.between
    if between is None:
        return CategoricalDistribution(swept.words)
    if isinstance(between.low, int) and isinstance(between.step or 1, int):
        return IntDistribution(between.low, int(between.high), log=between.log, step=int(between.step or 1))
    return FloatDistribution(between.low, between.high, log=between.log, step=between.step)


def _words(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The words of a trial; of a key with several words, the value is one of them."""
    return tuple(value if isinstance(value, str) else f"{key}={value!r}" for key, value in values.items())
