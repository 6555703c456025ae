"""The tasks of a few-shot stage: their settings, and where their items come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from malmoi.core.config import Settings
from malmoi.core.errors import UserError
from malmoi.corpus.document import Unreadable
from malmoi.corpus.read import ReadSettings, read_file
from malmoi.data.examples import read_examples, without_repeats
from malmoi.data.label_tables import TableSettings
from malmoi.evaluate.few_shot import TEMPLATE, Form, Task, make_task
from malmoi.evaluate.made_tasks import additions, misspellings
from malmoi.pipeline.stages.fetch import manifest_files
from malmoi.sources.fetch import fetch_source

LabelName = Annotated[str, Field(coerce_numbers_to_str=True)]


class TaskSettings(Settings):
    """One task. Its items are read from a source, from a file of one's own, or made.

    Attributes:
        kind: "choice" takes the most probable of the labels; "answer" lets the model write until its line ends.
        source: a card.
        make: makes the items by the seed: "additions" of two numbers, "misspellings" of frequent words of the texts.
        input, output: columns of a table, by name, or by number from 0 where the table has no header; misspellings have
            `input` alone, the column of the texts.
        quotes: whether quotation marks enclose fields of a tab-separated file.
        threshold: for numeric labels: above is "positive", below "negative", equal is left out.
        labels: what is written for each label, where that is not the label itself.
        instruction: stands before the examples.
        template: an example; what stands behind {output} separates examples.
        measure: what counts for a free answer: "exact" match, or "chrf" where many answers are right.
        limit: most items to ask, instead of the stage's.
        answer_tokens: longest free answer.
    """

    kind: Literal["choice", "answer"]
    source: str = ""
    make: Literal["", "additions", "misspellings"] = ""
    input: str | int = "input"
    output: str | int = "output"
    quotes: bool = False
    threshold: float | None = None
    labels: dict[LabelName, str] = {}
    instruction: str = ""
    template: str = TEMPLATE
    measure: Literal["exact", "chrf"] = "exact"
    limit: PositiveInt | None = None
    answer_tokens: PositiveInt = 32

    @field_validator("template")
    @classmethod
    def _check_template(cls, template: str) -> str:
        before, _, after = template.partition("{output}")
        if before.count("{input}") != 1 or "{input}" in after or "{output}" in after or not after.startswith("\n"):
            raise ValueError("a template has {input}, then {output}, then a line break, each of the first two once")
        return template

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if self.kind == "choice" and self.make:
            raise ValueError(f"{self.make} are answered freely, they have no labels to choose from")
        return self

    @property
    def figure(self) -> str:
        """Which figure counts: "accuracy", "exact" or "chrf"."""
        return "accuracy" if self.kind == "choice" else self.measure


def read_task(settings: TaskSettings, fetch: Path | None, file: Path | None, limit: int, shots: int, seed: int) -> Task:
    """The items of a task, drawn by the seed.

    Args:
        fetch: a fetch stage that has the source; without one it is fetched now.
        file: for a task that names no source.
        limit: most items to ask where the task does not say so itself.
        shots: most examples to show.

    Raises:
        UserError: there is no such source, file or column, or there are too few items.
    """
    limit = settings.limit or limit
    if settings.make == "additions":
        examples = additions(limit + shots, seed)
    elif settings.make == "misspellings":
        examples = misspellings(_texts(_paths(settings, fetch, file), settings), limit + shots, seed)
    else:
        table = TableSettings(
            text=settings.input, label=settings.output, quotes=settings.quotes, threshold=settings.threshold
        )
        paths = _paths(settings, fetch, file)
        examples = without_repeats([example for path in paths for example in read_examples(path, table)])
    labels = settings.labels if settings.kind == "choice" else None
    return make_task(examples, Form(settings.template, settings.instruction), limit, shots, seed, labels)


def _paths(settings: TaskSettings, fetch: Path | None, file: Path | None) -> list[Path]:
    if settings.source:
        return manifest_files(fetch, settings.source) if fetch else fetch_source(settings.source)
    if file is None:
        raise UserError(
            "It names no source, and the stage no file.", "Give the task source=CARD, or the stage file=PATH."
        )
    return [file]


def _texts(paths: list[Path], settings: TaskSettings) -> list[str]:
    column = None if settings.input == "input" else settings.input
    texts = []
    for path in paths:
        try:
            texts += [document.text for document in read_file(path, settings.source, "", ReadSettings(text=column))]
        except Unreadable as reason:
            raise UserError(f"{path} cannot be read: {reason}.", "Name another file of text.") from None
    return texts
