"""Questions about passages, in the form of SQuAD, and their splits."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeInt

from malmoi.core.errors import UserError
from malmoi.core.hashing import text_digest
from malmoi.data.parts import PartSettings
from malmoi.data.table import read_text


@dataclass(frozen=True)
class Span:
    """A stretch of a passage: its text stands from character `start` to before character `end`."""

    start: int
    end: int


@dataclass(frozen=True)
class Question:
    """A question about a passage.

    Attributes:
        passage, text: in NFC.
        answers: where each of the answers that count as right stands; none where the passage does not answer.
        name: its id in the file.
        article: what the passage is a part of.
    """

    text: str
    passage: str
    answers: tuple[Span, ...] = ()
    name: str = ""
    article: str = ""

    @property
    def answer_texts(self) -> list[str]:
        """The right answers."""
        return [self.passage[span.start : span.end] for span in self.answers]


class QuestionSplitSettings(PartSettings):
    """How questions are split: all those about a passage are on one side, which its text alone decides.

    Attributes:
        validation, test: shares.
        limit, test_limit: most questions to learn from and to be tested on; 0 for all.
        unanswerable: for each question with an answer, so many without one are made: the same question about another
            passage, of its article where that has one. Files that have such questions, as SQuAD 2.0 does, need none.
        split_seed: of the hash of passages, and of which other passage is taken.
    """

    test: float = Field(0.2, gt=0, lt=1)
    limit: NonNegativeInt = 0
    test_limit: NonNegativeInt = 0
    unanswerable: float = Field(0.25, ge=0, le=1)


@dataclass(frozen=True)
class QuestionSplits:
    """Three lists that have no passage in common."""

    train: list[Question]
    validation: list[Question]
    test: list[Question]


def split_questions(questions: Sequence[Question], settings: QuestionSplitSettings) -> QuestionSplits:
    """Split questions by their passages, and add those that their passage does not answer; the same at every run.

    Raises:
        UserError: a part is empty that was asked for, or no question to learn from or to test on has an answer.
    """
    parts: tuple[list[Question], ...] = ([], [], [])
    for question in questions:
        place = _share(f"{settings.split_seed}/{question.passage}")
        parts[2 if place < settings.test else 1 if place < settings.test + settings.validation else 0].append(question)
    wanted = {"learn from": parts[0], "test on": parts[2]} | ({"validate on": parts[1]} if settings.validation else {})
    for purpose, part in wanted.items():
        if not part:
            raise UserError(f"Of {len(questions)} questions none is left to {purpose}.", "Add passages, or set shares.")
    kept = parts[0][: settings.limit or None], parts[1], parts[2][: settings.test_limit or None]
    for purpose, part in {"learn from": kept[0], "test on": kept[2]}.items():
        if not any(question.answers for question in part):
            way_out = "Add questions that their passage answers, or raise the limit."
            raise UserError(f"None of {len(part)} questions to {purpose} has an answer.", way_out)
    return QuestionSplits(*(_with_unanswerable(part, settings) for part in kept))


def _with_unanswerable(questions: Sequence[Question], settings: QuestionSplitSettings) -> list[Question]:
    """The questions, and some of them about another passage of the same part, of their article where there is one."""
    passages: dict[str, list[str]] = {}
    for question in questions:
        passages.setdefault(question.article, []).append(question.passage)
    passages = {article: list(dict.fromkeys(each)) for article, each in passages.items()}
    everywhere = list(dict.fromkeys(question.passage for question in questions))
    result = list(questions)
    for question in questions:
        if not question.answers or _share(f"{settings.split_seed}/{question.name}/none") >= settings.unanswerable:
            continue
        known = [text.casefold() for text in question.answer_texts]
        for candidates in (passages[question.article], everywhere):
            others = [text for text in candidates if not any(answer in text.casefold() for answer in known)]
            if others:
                chosen = others[int(_share(f"{settings.split_seed}/{question.name}/other") * len(others))]
                result.append(Question(question.text, chosen, (), f"{question.name}/other", question.article))
                break
    return result


def _share(key: str) -> float:
    """A number from 0 to before 1 that is a pure function of the key."""
    return int.from_bytes(text_digest(key)[:6], "little") / 2**48


def read_questions(path: Path) -> list[Question]:
    """The questions of a JSON file in the form of SQuAD 1.1 or 2.0 (Rajpurkar and others 2016, arXiv:1606.05250).

    Texts are brought into NFC, and the places of answers with them.

    Raises:
        UserError: the file is no such JSON, or an answer does not stand where the file says; names line and question.
    """
    text = read_text(path)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not valid JSON ({error.msg}).", "Mend the file.") from None
    except (RecursionError, ValueError):  # numbers of thousands of digits are the latter
        raise UserError(f"{path} is nested, or has numbers, beyond all reason.", _FORM) from None
    found = [
        _question(one, paragraph["context"], str(article.get("title", "")), path, text)
        for article in _list(content, "data", path)
        for paragraph in _list(article, "paragraphs", path)
        for one in _list(paragraph, "qas", path)
        if _has_text(paragraph, "context", path)
    ]
    if not found:
        raise UserError(f"{path} has no questions.", _FORM)
    return found


_HALF = re.compile("[\ud800-\udfff]")
_FORM = "Write them as SQuAD does: data, paragraphs with context and qas, each with id, question and answers."


@dataclass(frozen=True)
class _Place:
    """Where a question stands, in words; its line is only looked for when it is to be said."""

    path: Path
    file: str
    name: str

    def __str__(self) -> str:
        before = max(0, self.file.find(json.dumps(self.name, ensure_ascii=False)))
        return f"{self.path}, line {self.file.count(chr(10), 0, before) + 1}, question {self.name!r}"


def _list(value: Any, key: str, path: Path) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise UserError(f"{path} has no list {key!r} where one belongs.", _FORM)
    return found


def _has_text(value: Any, key: str, where: _Place | Path) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get(key), str):
        raise UserError(f"{where}: no text {key!r} where one belongs.", _FORM)
    if _HALF.search(value[key]):
        raise UserError(f"{where}: {key!r} holds half of a surrogate pair, which is no character.", "Remove it.")
    return True


def _question(one: Any, context: str, article: str, path: Path, file: str) -> Question:
    name = str(one.get("id", "")) if isinstance(one, dict) else ""
    where = _Place(path, file, name)
    _has_text(one, "question", where)
    answers = [] if one.get("is_impossible") else _list(one, "answers", path)
    spans = {_span(answer, context, where) for answer in answers}
    ordered = tuple(sorted(spans, key=lambda span: (span.start, span.end)))
    return Question(_composed(one["question"]).strip(), _composed(context), ordered, name, article)


def _span(answer: Any, context: str, where: _Place) -> Span:
    text, start = (answer.get("text"), answer.get("answer_start")) if isinstance(answer, dict) else (None, None)
    if not isinstance(text, str) or not isinstance(start, int) or not text.strip():
        raise UserError(f"{where}: an answer needs a text and answer_start, a number.", _FORM)
    if start < 0 or context[start : start + len(text)] != text:
        stands = context.find(text)
        way_out = (
            f"The text first stands at {stands}: set answer_start to that."
            if stands >= 0
            else "Write the answer as the passage has it, or mark the question with is_impossible: true."
        )
        raise UserError(f"{where}: the answer {text!r} does not stand at character {start} of its passage.", way_out)
    before = len(context[:start]) + len(text) - len(text.lstrip())
    start, end = (len(_composed(context[:place])) for place in (before, before + len(text.strip())))
    return Span(start, end)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
