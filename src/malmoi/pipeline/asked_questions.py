"""Which questions a stage learns from and is tested on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt

from malmoi.data.cloze_questions import cloze_questions
from malmoi.data.questions import Question, QuestionSplits, QuestionSplitSettings, read_questions, split_questions
from malmoi.pipeline.stage import StageInput
from malmoi.pipeline.stages.fetch import MANIFEST, manifest_files
from malmoi.sources.fetch import fetch_source


class AskedQuestionsSettings(QuestionSplitSettings):
    """Where questions are, and how they are split.

    Attributes:
        fetch: a fetch stage that has the questions of `source`.
        source: a card of questions.
        file: your own file in the form of SQuAD, instead of `fetch` and `source`.
        made: so many questions more are made of the passages to learn from, see `cloze_questions`.
        language: of the words that made ones ask with.
    """

    fetch: StageInput | None = None
    source: str = "xquad-english"
    file: StageInput | None = None
    made: NonNegativeInt = 0
    language: Literal["en", "de", "ko"] = "en"

    @property
    def are_here(self) -> bool:
        """Whether the questions can be read without fetching anything."""
        return self.file is not None or (self.fetch is not None and (self.fetch / MANIFEST).is_file())


def read_splits(settings: AskedQuestionsSettings, seed: int) -> tuple[QuestionSplits, list[Question]]:
    """The questions, fetched where they are named by their card alone, and those made of what is learned from.

    Raises:
        UserError: as `read_questions` and `split_questions`.
    """
    splits = split_questions([one for path in _paths(settings) for one in read_questions(path)], settings)
    passages = list(dict.fromkeys(question.passage for question in splits.train))
    return splits, cloze_questions(passages, settings.made, settings.language, seed)


def _paths(settings: AskedQuestionsSettings) -> list[Path]:
    if settings.file is not None:
        return [settings.file]
    if settings.fetch is not None:
        return manifest_files(settings.fetch, settings.source)
    return fetch_source(settings.source)
