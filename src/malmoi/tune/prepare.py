"""What is asked of a search, and what has to be there before its first trial: what all trials share, made once."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock

from malmoi.core.console import console
from malmoi.core.errors import UserError, nearest
from malmoi.core.files import read_json, write_json
from malmoi.pipeline.recipe import Recipe, Step, build_recipe
from malmoi.pipeline.runner import resolve_inputs, run_step
from malmoi.tune.space import Space, default_space, parse_space, trained_stage

PLAN = "search.json"

LOSS = "validation_loss"

TIME_SHARE = 0.9
"""Share of the minutes that is spent in trials."""


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        searches: `KEY=VALUES`; empty for learning rates, batch and weight decay of `stage`.
        stage: that trains; None for that of the keys, or the first of the recipe that trains.
        measure: `STAGE.RESULT` that is to become small, such as evaluate.bits_per_byte; None for the held-out loss.
        maximize: whether it is to become large instead.
        trials: how many in the end, over all processes and calls.
        minutes: after which none is begun any more. Where the stage is given minutes too, trials are made short enough.
        prune: whether trials that fall behind are stopped.
        seed: of what is tried.
    """

    searches: list[str] = field(default_factory=list)
    stage: str | None = None
    measure: str | None = None
    maximize: bool = False
    trials: int = 20
    minutes: float | None = None
    prune: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Search:
    """A search that can be run.

    Attributes:
        whole: the recipe with what this machine decides written out, trained as long as it says.
        short: the same as trials are trained.
        space: what is tried of each key.
        judged: the stage whose result counts.
        key: of its result.
        shared: directories of the stages that all trials share.
        directory: of all of it.
    """

    whole: Recipe
    short: Recipe
    space: Space
    judged: str
    key: str
    shared: dict[str, Path]
    directory: Path
    wish: Wish

    @property
    def by_loss(self) -> bool:
        """Whether the held-out loss counts, so that trials can be judged while they train."""
        return self.key == LOSS and not self.wish.maximize


def prepare(recipe: Recipe, wish: Wish, directory: Path) -> Search:
    """Make what trials share, and settle what they try.

    Raises:
        UserError: a stage, key or range is wrong; `directory` holds another search; what a stage raised.
    """
    trained = trained_stage(recipe, wish.stage)
    space = parse_space(wish.searches, recipe, trained.name)
    searched = {key.split(".")[0] for key in space} or {trained.name}
    judged, key = _measure(recipe, wish, sorted(searched))
    needed = needed_stages(recipe, judged)
    own = _own(needed, searched)
    directory.mkdir(parents=True, exist_ok=True)
    with _alone(directory):
        shared: dict[str, Path] = {}
        for step in needed:
            if step.name not in own:
                run_step(step, directory / step.name, shared, f"[bold]{step.name}[/bold], for all trials")
                shared[step.name] = directory / step.name
        whole = _settled(recipe, own, shared, directory)
        space = space or default_space(next(step for step in whole.steps if step.name == trained.name))
        asked = {
            "recipe": recipe.entries,
            "space": {name: str(values) for name, values in space.items()},
            "measure": [judged, key, wish.maximize],
        }
        short = _kept(_shortened(recipe, whole, own, wish), asked, directory)
    return Search(whole, short, space, judged, key, shared, directory, wish)


def _measure(recipe: Recipe, wish: Wish, searched: list[str]) -> tuple[str, str]:
    """The stage and the key of its result that count.

    Raises:
        UserError: there is no such stage or figure, or none was named and the keys are of several stages, or of one
            that does not train.
    """
    if wish.measure is None:
        if len(searched) > 1:
            raise UserError(
                f"The keys are of the stages {', '.join(searched)}.",
                "Say what counts: --measure evaluate.bits_per_byte.",
            )
        return trained_stage(recipe, searched[0]).name, LOSS
    stage, _, key = wish.measure.partition(".")
    if stage not in recipe.entries or not key:
        way_out = nearest(stage, recipe.entries) or f"Its stages: {', '.join(recipe.entries)}."
        raise UserError(f"{wish.measure!r} is no result of a stage of {recipe.name}.", way_out)
    figures = next(step.stage.figures for step in recipe.steps if step.name == stage)
    if figures and key not in figures:
        way_out = nearest(key, figures) or f"It has: {', '.join(figures)}."
        raise UserError(f"The stage {stage!r} has no figure {key!r} in its result.", way_out)
    return stage, key


def needed_stages(recipe: Recipe, name: str) -> list[Step]:
    """The stages that the one of this name is made from, and itself, in their order."""
    wanted = {name}
    for step in reversed(recipe.steps):
        if step.name in wanted:
            wanted |= _before(step)
    return [step for step in recipe.steps if step.name in wanted]


def _before(step: Step) -> set[str]:
    """What a stage names as its inputs."""
    return {str(path) for paths in step.inputs().values() for path in paths}


def _own(needed: list[Step], searched: set[str]) -> set[str]:
    """Those of the needed stages that differ between trials.

    Raises:
        UserError: a key is of a stage that is not needed.
    """
    idle = searched - {step.name for step in needed}
    if idle:
        raise UserError(
            f"{needed[-1].name!r} is not made from {sorted(idle)[0]!r}, so that its settings change nothing.",
            "Search keys of what comes before, or name another --measure.",
        )
    own: set[str] = set()
    for step in needed:
        if step.name in searched or _before(step) & own:
            own.add(step.name)
    return own


def _settled(recipe: Recipe, own: set[str], shared: dict[str, Path], directory: Path) -> Recipe:
    """The recipe with what this machine decides written out, wherever all that it follows from is there."""
    entries = {name: dict(entry) for name, entry in recipe.entries.items()}
    for step in recipe.steps:
        if step.name not in own or _before(step) & own:
            continue
        before = step.with_inputs(resolve_inputs(step, shared))
        after = step.stage.settled(before, directory / "settled" / step.name).model_dump(mode="json")
        for name, value in before.model_dump(mode="json").items():
            if after[name] is None and value is not None:
                del entries[step.name][name]
            elif after[name] != value:
                entries[step.name][name] = after[name]
    return build_recipe(recipe.name, recipe.about, entries, recipe.name)


def _shortened(recipe: Recipe, whole: Recipe, own: set[str], wish: Wish) -> Recipe:
    """The settled recipe with less to do for stages that have minutes, so that all trials fit into those asked for."""
    entries = {name: dict(entry) for name, entry in whole.entries.items()}
    for step in recipe.steps:
        settings = step.settings.model_dump(mode="json")
        if step.name not in own or not settings.get("minutes") or settings.get("steps") or settings.get("tokens"):
            continue
        share = min(1.0, TIME_SHARE * (wish.minutes or math.inf) / (wish.trials * settings["minutes"]))
        if "tokens" in entries[step.name]:
            entries[step.name]["tokens"] = max(1, int(share * entries[step.name]["tokens"]))
        else:
            entries[step.name]["minutes"] = share * settings["minutes"]
    return build_recipe(recipe.name, recipe.about, entries, recipe.name)


def _kept(short: Recipe, asked: dict[str, Any], directory: Path) -> Recipe:
    """The recipe of the trials, as the first call made it: more trials or minutes later change nothing about it.

    Raises:
        UserError: the directory holds another search.
    """
    path = directory / PLAN
    if not path.exists():
        write_json(path, {"asked": asked, "trials": short.entries})
    kept = read_json(path)
    if kept["asked"] != asked:
        raise UserError(f"{directory} holds a search of other settings.", "Give another --out, or remove it.")
    return build_recipe(short.name, short.about, kept["trials"], short.name)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Wait for another process that prepares the same search."""
    lock = filelock.FileLock(directory / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        console.print(f"Another malmoi prepares {directory}; waiting for it.", markup=False)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
