"""A search: trial after trial is run, until there are enough or time is up."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from malmoi.core.console import console, verbatim
from malmoi.core.errors import UserError, nearest
from malmoi.core.files import read_json, read_json_lines
from malmoi.pipeline.runner import run_step
from malmoi.pipeline.stage import figures_of
from malmoi.train.metrics import FILE as METRICS
from malmoi.train.update import Diverged
from malmoi.train.watch import Listener, Watched, Watcher, watching
from malmoi.tune.prepare import LOSS, Search, needed_stages
from malmoi.tune.space import changed, value_of
from malmoi.tune.study import Trials

GIVE_UP = 3
"""Trials that fail one after the other before the search stops."""

PLACES = 12
"""Parts of a training after which trials are compared, whatever their batches."""


def run(search: Search) -> Trials:
    """Run trials until there are enough, or time is up.

    Raises:
        UserError: the first trial failed, or several in a row did.
    """
    wish = search.wish
    first = {key: value_of(search.short, key) for key in search.space}
    trials = Trials(search.directory, search.space, first, wish.seed, wish.maximize, wish.prune and search.by_loss)
    started, longest, failed = time.monotonic(), 0.0, 0
    while wish.minutes is None or time.monotonic() - started + longest < 60 * wish.minutes or not longest:
        before = time.monotonic()
        with trials.claimed(wish.trials) as claimed:
            if claimed is None:
                break
            trial, values, directory = claimed
            failed = failed + 1 if _one_trial(search, trials, trial, values, directory, failed) else 0
        longest = max(longest, time.monotonic() - before)
    return trials


def _one_trial(
    search: Search, trials: Trials, trial: Trial, values: dict[str, Any], directory: Path, failed: int
) -> bool:
    """Run a trial and tell how it ended; whether it failed."""
    words = ", ".join(f"{key.partition('.')[2]}={value}" for key, value in values.items())
    console.print(f"[bold]trial {trial.number + 1} of {search.wish.trials}[/bold] {verbatim(words)}")
    try:
        value = _run_stages(search, trials, trial, values, directory)
    except (optuna.TrialPruned, Diverged) as stopped:
        trials.tell(trial, None, TrialState.PRUNED, str(stopped) if isinstance(stopped, Diverged) else "")
        console.print(
            "  it falls behind, stopped" if isinstance(stopped, optuna.TrialPruned) else verbatim(f"  {stopped}")
        )
        return False
    except UserError as error:
        if trial.number == 0 or failed + 1 >= GIVE_UP:
            raise
        trials.tell(trial, None, TrialState.FAIL, str(error))
        console.print(f"  [yellow]{verbatim(error)}[/yellow]")
        return True
    trials.tell(trial, value, TrialState.COMPLETE)
    best = trials.best()
    assert best is not None
    console.print(f"  {search.judged}.{search.key} {value:.4f}; the best is {best.value:.4f}, trial {best.number + 1}")
    return False


def _run_stages(search: Search, trials: Trials, trial: Trial, values: dict[str, Any], directory: Path) -> float:
    """Run what differs between trials; the figure that counts."""
    recipe, done = changed(search.short, values), dict(search.shared)
    judge = _judge(trial, trials.reported(trial.number), directory / search.judged)
    with watching(*([judge] if search.by_loss else [])):
        for step in needed_stages(recipe, search.judged):
            if step.name not in search.shared:
                run_step(step, directory / step.name, done, f"  [bold]{step.name}[/bold]")
                done[step.name] = directory / step.name
    result = read_json(directory / search.judged / "stage.json")["result"]
    value = result.get(search.key)
    if value is None and search.key == LOSS:
        value = _last_loss(directory / search.judged / METRICS)
    if not isinstance(value, (int, float)):
        figures = figures_of(result)
        way_out = nearest(search.key, figures) or f"It has: {', '.join(figures)}."
        raise UserError(f"The stage {search.judged!r} has no figure {search.key!r} in its result.", way_out)
    if not math.isfinite(value):
        raise Diverged(f"{search.key} is not finite.")
    return float(value)


def _judge(trial: Trial, reported: set[int], directory: Path) -> Watcher:
    """Watches the training in `directory`: after each validation, whether the trial is worth going on with.

    Args:
        reported: places of the training that a killed process has told already; at the last of them it may have been
            killed before it judged.
    """
    judged = set(sorted(reported)[:-1])

    @contextlib.contextmanager
    def watcher(watched: Watched) -> Iterator[Listener]:
        def listen(step: int, values: Mapping[str, Any]) -> None:
            if LOSS not in values or watched.directory != directory:
                return
            steps = watched.settings()["steps"]
            place = PLACES * step // steps
            if place in judged:
                return
            judged.add(place)
            if place not in reported:
                trial.report(values[LOSS], place)
            if step < steps and trial.should_prune():
                raise optuna.TrialPruned

        yield listen

    return watcher


def _last_loss(metrics: Path) -> float | None:
    """The held-out loss with which a training ended, if there was one; what was no number is written as null."""
    records = read_json_lines(metrics) if metrics.exists() else ()
    losses = [record[LOSS] for record in records if LOSS in record]
    return math.nan if losses and losses[-1] is None else (losses or [None])[-1]
