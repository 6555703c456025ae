"""What a stage is: it reads directories and writes one directory."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic.fields import FieldInfo

from malmoi.core.config import Settings
from malmoi.core.errors import UserError, nearest
from malmoi.pipeline.kinds import STAGES


class _Input:
    """Marks a settings field that names an earlier stage of the recipe, or a path."""


StageInput = Annotated[Path, _Input()]
"""Type of a settings field that the runner resolves: the name of an earlier stage becomes its directory."""


@dataclass(frozen=True)
class Estimate:
    """What a dry run prints for a stage.

    Attributes:
        seconds: expected duration; None when it depends on an earlier stage that has not run.
        memory: expected peak in bytes; None likewise.
        lines: derived numbers in words.
    """

    seconds: float | None = None
    memory: int | None = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """A kind of stage.

    Attributes:
        settings: the class of its settings.
        run: does the work in the given directory and returns the result for `stage.json`. It is called again in the
            same directory after a kill, and goes on where it stopped if it left something to go on from.
        estimate: what it will take, without doing it.
        check: refuses settings that contradict one another, where it takes more than their class to see that.
        in_recipe: its settings, when those of all the recipe's stages are known by name; refuses what contradicts them.
        settled: its settings with what they leave to this machine's speed written out, so that others which differ in
            one of them do the same amount of work; the directory is for what that needs.
        figures: the numbers of its result by which a search may go; empty where only a result tells.
    """

    settings: type[Settings]
    run: Callable[[Any, Path], dict[str, Any]]
    estimate: Callable[[Any], Estimate] = lambda settings: Estimate()
    check: Callable[[Any], None] = lambda settings: None
    in_recipe: Callable[[Any, Mapping[str, Settings]], Settings] = lambda settings, stages: settings
    settled: Callable[[Any, Path], Settings] = lambda settings, directory: settings
    figures: tuple[str, ...] = ()


def find_stage(kind: str) -> Stage:
    """The stage of a kind.

    Raises:
        UserError: there is no such kind; names the nearest one.
    """
    if kind not in STAGES:
        raise UserError(f"There is no stage {kind!r}.", nearest(kind, STAGES) or f"Known: {', '.join(STAGES)}.")
    stage: Stage = importlib.import_module(STAGES[kind].module).STAGE
    return stage


def figures_of(result: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the numbers of a stage's result."""
    return tuple(name for name, value in result.items() if type(value) in (int, float))


def is_input(field: FieldInfo) -> bool:
    """Whether a settings field is a `StageInput`, an optional one, or a list of them."""
    return any(isinstance(mark, _Input) for mark in field.metadata) or _marked(field.annotation)


def _marked(annotation: Any) -> bool:
    marks = getattr(annotation, "__metadata__", ())
    return any(isinstance(mark, _Input) for mark in marks) or any(map(_marked, get_args(annotation)))
