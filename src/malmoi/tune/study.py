"""The trials at rest: an Optuna study in a journal, which several processes may share and any of them may leave."""

from __future__ import annotations

import contextlib
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import optuna
from optuna.importance import FanovaImportanceEvaluator
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from malmoi.core.files import drop_torn_line
from malmoi.core.hashing import hash_value
from malmoi.tune.space import Space

if TYPE_CHECKING:
    from optuna.study import Study

FILE = "study.jsonl"
TRIALS = "trials"

AT_RANDOM = 6
"""Trials before what was found decides where to look (the first of them is the recipe as it is)."""

UNJUDGED = 4
"""Twelfths of its training before a trial may be stopped: a high learning rate looks bad until it falls."""


class _Lock:
    """Held by the process that writes to the journal; the system lets go of it when that process dies."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._lock = filelock.FileLock(journal.with_name(f".{journal.name}.lock"))

    def acquire(self) -> bool:
        self._lock.acquire()
        drop_torn_line(self._journal)
        return True

    def release(self) -> None:
        self._lock.release()


class Trials:
    """The trials of one search in `directory`.

    Args:
        first: values of the first trial.
        seed: with the number of a trial and what was found before it, decides what it tries: one process that is
            killed and started again tries the same as one that was not.
        pruned: whether a trial that is worse than half of the others so far is stopped.
    """

    def __init__(
        self, directory: Path, space: Space, first: dict[str, Any], seed: int, maximize: bool, pruned: bool
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._directory, self._space, self._first, self._seed = directory, space, first, seed
        self._lock = filelock.FileLock(directory / ".study.lock")
        self._sign = -1 if maximize else 1
        pruner = MedianPruner(AT_RANDOM - 2, UNJUDGED) if pruned else optuna.pruners.NopPruner()
        with self._lock:  # two processes may make the study at once
            journal = JournalFileBackend(str(directory / FILE), _Lock(directory / FILE))  # type: ignore[arg-type]
            self._storage = JournalStorage(journal)
            self.study: Study = optuna.create_study(
                study_name="malmoi",
                storage=self._storage,
                pruner=pruner,
                direction="maximize" if maximize else "minimize",
                load_if_exists=True,
            )

    @contextlib.contextmanager
    def claimed(self, most: int) -> Iterator[tuple[Trial, dict[str, Any], Path] | None]:
        """A trial that nobody works on, its values and its directory: one that was killed, else a new one.

        None when there are `most` and none is left to go on with. Held until the block ends.
        """
        with contextlib.ExitStack() as stack:
            with self._lock:
                found = self._free(stack)
                if found is None and len(self.study.trials) < most:
                    if not self.study.trials:
                        self.study.enqueue_trial({key: v for key, v in self._first.items() if v in self._space[key]})
                    found = self.study.ask()
                    assert stack.enter_context(self._held(found.number))
                values = None if found is None else self._values(found)
            yield None if found is None or values is None else (found, values, self.directory(found.number))

    def directory(self, number: int) -> Path:
        """What a trial writes."""
        return self._directory / TRIALS / f"{number:04d}"

    def reported(self, number: int) -> set[int]:
        """The twelfths of its training at which a trial told its loss."""
        return set(self.study.get_trials(deepcopy=False)[number].intermediate_values)

    def elsewhere(self) -> list[int]:
        """Trials that another process works on."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [trial.number for trial in running if not self._is_free(trial.number)]

    def _is_free(self, number: int) -> bool:
        with self._held(number) as free:
            return free

    def finished(self) -> list[FrozenTrial]:
        """Trials that went to their end."""
        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))

    def best(self) -> FrozenTrial | None:
        """The best of them, the first of equals."""
        return min(self.finished(), key=lambda trial: (self._sign * (trial.value or 0.0), trial.number), default=None)

    def tell(self, trial: Trial, value: float | None, state: TrialState, error: str = "") -> None:
        """Write down how a trial ended, and drop what only the best needs."""
        with self._lock:
            if error:
                trial.set_user_attr("error", error)
            self.study.tell(trial, value, state)
            best = self.best()
            for other in self.study.get_trials(deepcopy=False):
                if other.state.is_finished() and (best is None or other.number != best.number):
                    _keep_the_record(self.directory(other.number))

    def values(self, trial: FrozenTrial) -> dict[str, Any]:
        """What a trial tried."""
        return {key: _rounded(trial.params[key], trial.number) for key in self._space if key in trial.params}

    def importance(self) -> dict[str, float]:
        """How much each key decides, by fANOVA (Hutter, Hoos and Leyton-Brown 2014, ICML); empty for few trials."""
        if len(self.finished()) < 4:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(self.study, evaluator=FanovaImportanceEvaluator(seed=0))
        return {key: float(found.get(key, 0.0)) for key in sorted(self._space, key=lambda key: -found.get(key, 0.0))}

    def _free(self, stack: contextlib.ExitStack) -> Trial | None:
        """A trial whose process is gone; from now on it is held by this one."""
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if stack.enter_context(self._held(frozen.number)):
                study = self._storage.get_study_id_from_name("malmoi")
                return Trial(self.study, self._storage.get_trial_id_from_study_id_trial_number(study, frozen.number))
        return None

    @contextlib.contextmanager
    def _held(self, number: int) -> Iterator[bool]:
        """Hold a trial, if nobody else does; the system lets go of it when a process dies."""
        directory = self.directory(number)
        directory.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(directory / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _values(self, trial: Trial) -> dict[str, Any]:
        """Ask for every value; one that a killed process had asked for before is the same again."""
        values = {}
        for key, possible in self._space.items():
            seed = int(hash_value([self._seed, trial.number, key])[:8], 16)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what Optuna calls experimental
                self.study.sampler = TPESampler(n_startup_trials=AT_RANDOM, constant_liar=True, seed=seed)
                values[key] = _rounded(possible.suggest(trial, key), trial.number)
        return values


def _rounded(value: Any, number: int) -> Any:
    """Four digits of a number that was drawn; the first trial has the recipe's own."""
    return float(f"{value:.4g}") if isinstance(value, float) and number else value


def _keep_the_record(directory: Path) -> None:
    """Remove the folders of a trial's stages: weights, states, tokens. Settings, results and curves stay."""
    for folder in directory.glob("*/*/"):
        if not folder.name.startswith("."):
            shutil.rmtree(folder, ignore_errors=True)
