"""What a stage is: it reads directories and writes one directory."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from malmoi.core.config import Settings
from malmoi.core.errors import UserError, nearest


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
        about: one sentence for `--help`.
        example: one command that works.
        settings: the class of its settings.
        run: does the work in the given directory and returns the result for `stage.json`. It is called again in the
            same directory after a kill, and goes on where it stopped if it left something to go on from.
        estimate: what it will take, without doing it.
    """

    about: str
    example: str
    settings: type[Settings]
    run: Callable[[Any, Path], dict[str, Any]]
    estimate: Callable[[Any], Estimate] = lambda settings: Estimate()


STAGES = {
    "fetch": "malmoi.pipeline.stages.fetch",
    "corpus": "malmoi.pipeline.stages.corpus",
    "tokenizer": "malmoi.pipeline.stages.tokenizer",
    "pretrain": "malmoi.pipeline.stages.pretrain",
    "evaluate": "malmoi.pipeline.stages.evaluate",
    "classify": "malmoi.pipeline.stages.classify",
    "instruct": "malmoi.pipeline.stages.instruct",
    "report": "malmoi.pipeline.stages.report",
}
"""Kind of stage -> the module that defines it as `STAGE`; imported only when the stage is used."""


def find_stage(kind: str) -> Stage:
    """The stage of a kind.

    Raises:
        UserError: there is no such kind; names the nearest one.
    """
    if kind not in STAGES:
        raise UserError(f"There is no stage {kind!r}.", nearest(kind, STAGES) or f"Known: {', '.join(STAGES)}.")
    stage: Stage = importlib.import_module(STAGES[kind]).STAGE
    return stage


def is_input(metadata: list[Any]) -> bool:
    """Whether a pydantic field's metadata carries the mark of `StageInput`."""
    return any(isinstance(mark, _Input) for mark in metadata)
