"""What a search may try: a range or some choices for each key of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from malmoi.core.config import parse_value, set_value
from malmoi.core.errors import UserError, nearest
from malmoi.pipeline.recipe import Recipe, Step, build_recipe
from malmoi.train.settings import TrainerSettings

if TYPE_CHECKING:
    from optuna.trial import Trial

EXAMPLE = "For example: learning_rate=0.001:0.03:log, or rows=8,16,32."

AROUND = 5
"""A learning rate is searched from a fifth to five times what the recipe has."""

DECAY = 0.2
"""Largest weight decay that is searched unasked."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; `whole` ones only; evenly spread over their logarithm if `log`."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def suggest(self, trial: Trial, name: str) -> Any:
        """The value of a trial."""
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def ends(self) -> list[Any]:
        """Values that have to be valid settings for all to be."""
        return [int(end) if self.whole else end for end in (self.low, self.high)]

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', log' if self.log else ''}"


@dataclass(frozen=True)
class Choices:
    """Some values."""

    values: tuple[Any, ...]

    def suggest(self, trial: Trial, name: str) -> Any:
        """The value of a trial."""
        return trial.suggest_categorical(name, self.values)

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    def ends(self) -> list[Any]:
        """Values that have to be valid settings for all to be."""
        return list(self.values)

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


Space: TypeAlias = dict[str, Range | Choices]
"""What is tried of each key, `STAGE.key`."""


def parse_values(text: str) -> Range | Choices:
    """`LOW:HIGH`, `LOW:HIGH:log`, or `A,B,C`.

    Raises:
        UserError: it is none of these, the range is the wrong way round, or a logarithm is asked of zero.
    """
    if "," in text or ":" not in text:
        values = tuple(parse_value(one) for one in text.strip("[]").split(","))
        if len(values) < 2 or None in values:
            raise UserError(f"{text!r} is nothing to choose from.", EXAMPLE)
        return Choices(values)
    low, high, *rest = text.split(":")
    if rest not in ([], ["log"]):
        raise UserError(f"{':'.join(rest)!r} in {text!r} is not known.", EXAMPLE)
    ends = [_number(end, text) for end in (low, high)]
    if ends[0] >= ends[1]:
        raise UserError(f"The range {text} goes the wrong way round.", f"Write {high}:{':'.join([low, *rest])}.")
    if rest and ends[0] <= 0:
        raise UserError(f"The range {text} has no logarithm.", "Begin above 0, or leave out log.")
    return Range(ends[0], ends[1], log=bool(rest), whole=all(isinstance(end, int) for end in ends))


def parse_space(searches: list[str], recipe: Recipe, stage: str) -> Space:
    """`KEY=VALUES` of every search; a key that begins with no stage's name is one of `stage`.

    Raises:
        UserError: as `parse_values`, or there is no such key in the recipe, or a value is none of that key.
    """
    space: Space = {}
    for search in searches:
        key, separator, text = search.partition("=")
        if not separator:
            raise UserError(f"{search!r} says not what to try.", EXAMPLE)
        space[key if key.split(".")[0] in recipe.entries else f"{stage}.{key}"] = parse_values(text)
    for key, values in space.items():
        for end in values.ends():
            changed(recipe, {key: end})
    return space


def changed(recipe: Recipe, values: dict[str, Any]) -> Recipe:
    """The recipe with some keys set.

    Raises:
        UserError: it has no such key, or the value is none of that key.
    """
    entries = _copied(recipe.entries)
    for key, value in values.items():
        stage, _, inner = key.partition(".")
        set_value(entries[stage], inner, value)
    return build_recipe(recipe.name, recipe.about, entries, recipe.name)


def trained_stage(recipe: Recipe, name: str | None) -> Step:
    """The stage of this name, or the first that trains.

    Raises:
        UserError: there is none.
    """
    trained = [step for step in recipe.steps if {"trainer", "learning_rate"} & set(type(step.settings).model_fields)]
    names = [step.name for step in trained]
    if name is not None:
        if name not in recipe.entries:
            raise UserError(
                f"The recipe {recipe.name} has no stage {name!r}.",
                nearest(name, recipe.entries) or f"Its stages: {', '.join(recipe.entries)}.",
            )
        trained = [step for step in recipe.steps if step.name == name]
    if not trained:
        raise UserError(f"No stage of the recipe {recipe.name} trains.", "Name a key: --search STAGE.KEY=LOW:HIGH.")
    if name is not None and name not in names:
        raise UserError(f"The stage {name!r} does not train.", f"Of this recipe do: {', '.join(names) or 'none'}.")
    return trained[0]


def default_space(step: Step) -> Space:
    """Learning rates, batch and weight decay around what a settled step has."""
    fields = type(step.settings).model_fields
    has_trainer = "trainer" in fields
    trainer = TrainerSettings(steps=1, **step.settings.trainer) if has_trainer else step.settings  # type: ignore[attr-defined]
    muon = getattr(trainer, "optimizer", "adamw") == "muon"
    rates = ["learning_rate", *(["matrix_learning_rate"] if muon else [])]
    decay = "matrix_weight_decay" if muon else "weight_decay"
    prefix = f"{step.name}.trainer." if has_trainer else f"{step.name}."
    space: Space = {}
    for rate in rates:
        if (value := getattr(trainer, rate, None)) is not None:
            space[prefix + rate] = Range(float(f"{value / AROUND:.2g}"), float(f"{value * AROUND:.2g}"), log=True)
    if rows := getattr(step.settings, "rows", None):
        space[f"{step.name}.rows"] = Choices(tuple(sorted({max(1, rows // 2), rows, 2 * rows})))
    if hasattr(trainer, decay):
        space[prefix + decay] = Range(0.0, DECAY)
    return space


def _copied(value: Any) -> Any:
    """A deep copy in which nothing is shared, as an anchor of a YAML file is among those that name it."""
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def value_of(recipe: Recipe, key: str) -> Any:
    """What a recipe has for a key, its default included; None when it leaves the key open."""
    stage, *parts = key.split(".")
    value: Any = next(step.settings for step in recipe.steps if step.name == stage)
    if parts[0] == "trainer":
        value, parts = TrainerSettings(steps=1, **value.trainer), parts[1:]
    for part in parts:
        value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
    return value


def _number(text: str, where: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise UserError(f"{text!r} in the range {where} is no number.", EXAMPLE)
