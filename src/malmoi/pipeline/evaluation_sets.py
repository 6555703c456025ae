"""The texts and questions that the stages of a recipe are tested on, which its corpora must not hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from malmoi.core.config import Settings, parse_settings
from malmoi.core.hashing import hash_file, hash_value
from malmoi.corpus.document import Document
from malmoi.data.label_tables import TableSettings
from malmoi.data.labelled import SplitSettings
from malmoi.data.parts import PartSettings
from malmoi.pipeline import asked_questions, labelled_texts
from malmoi.pipeline.asked_questions import AskedQuestionsSettings
from malmoi.pipeline.labelled_texts import LabelledTextsSettings

QUESTIONS = "questions"

_OF_TEXTS = {*TableSettings.model_fields, *SplitSettings.model_fields, "source", "test_file"}
_OF_QUESTIONS = {*PartSettings.model_fields, "test", "source"}
"""What decides which ones are tested; other settings of a stage may change without a new corpus."""


def evaluation_sets(fetch: Path | None, stages: Sequence[Settings]) -> list[dict[str, Any]]:
    """What decides on the tested texts, of the stages that read labelled texts or questions of the fetch stage `fetch`.

    A file of the user's own is named with its hash. Equal sets, as of two models that learn the same task, are named
    once.
    """
    sets: list[dict[str, Any]] = []
    for settings in stages:
        if not isinstance(settings, LabelledTextsSettings | AskedQuestionsSettings):
            continue
        asked = isinstance(settings, AskedQuestionsSettings)
        deciding = _OF_QUESTIONS if asked else _OF_TEXTS
        fields = settings.model_dump(mode="json", include=deciding, exclude_defaults=True)
        fields |= {"stage": QUESTIONS} if asked else {}
        if settings.file is not None and (path := settings.file.expanduser()).is_file():
            digests = [hash_file(one) for one in (path, *settings.named_files)]
            fields |= {"file": str(path), "sha256": hash_value(digests) if digests[1:] else digests[0]}
        elif settings.file is not None or fetch is None or settings.fetch != fetch:
            continue
        if fields not in sets:
            sets.append(fields)
    return sets


def evaluation_documents(sets: Sequence[dict[str, Any]], fetch: Path | None) -> Iterator[Document]:
    """The texts that models are tested on, each of a pair by itself, passages and questions too.

    Args:
        sets: fields of `LabelledTextsSettings`, or with `stage: questions` of `AskedQuestionsSettings`.

    Raises:
        UserError: a field is unknown, or has a wrong value.
    """
    for given in sets:
        fields = {name: value for name, value in given.items() if name != "sha256"} | {"fetch": fetch}
        tested = _questions(fields) if fields.pop("stage", "") == QUESTIONS else _texts(fields)
        for number, (source, text) in enumerate(tested, start=1):
            yield Document(text, source, "", f"test#{number}")


def _texts(fields: dict[str, Any]) -> Iterator[tuple[str, str]]:
    settings = parse_settings(LabelledTextsSettings, fields, _WHERE)
    for labelled in labelled_texts.read_splits(settings).test:
        yield from ((settings.source, text) for text in (labelled.text, labelled.pair) if text)


def _questions(fields: dict[str, Any]) -> Iterator[tuple[str, str]]:
    settings = parse_settings(AskedQuestionsSettings, {**fields, "unanswerable": 0}, _WHERE)
    test = asked_questions.read_splits(settings, 0)[0].test
    for text in dict.fromkeys(text for question in test for text in (question.passage, question.text)):
        yield settings.source, text


_WHERE = "'evaluation' of a corpus"
