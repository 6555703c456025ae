"""Questions as windows: the question in front of each stretch of the passage that fits in beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from malmoi.core.errors import UserError
from malmoi.data.question_words import character_kinds
from malmoi.data.questions import Question, Span
from malmoi.data.span_batch import NOWHERE, Window
from malmoi.tokenizers.framing import Frame
from malmoi.tokenizers.tokenizer import Tokenizer

LONGEST_QUESTION = 0.5
"""Share of a window that a question may take; the rest of a longer one is left out."""


EMPTY = 4


@dataclass(frozen=True)
class QuestionForm:
    """How a question and its passage are put before a model, the same when it learns and when it is asked.

    Attributes:
        longest: tokens of a window.
        stride: tokens of the passage by which the next window begins later.
        marks: the segment of a passage's token also says what kind of word it is, see `character_kinds`.
        longest_answer: tokens.
        threshold: an answer whose score is less is none, see `malmoi.evaluate.question_answers`.
    """

    longest: int = 384
    stride: int = 128
    marks: bool = False
    longest_answer: int = 30
    threshold: float = 0.0


class Windows:
    """Turns questions into windows.

    Raises:
        UserError: the vocabulary does not tell how two texts stand together, or a window holds too few tokens.
    """

    def __init__(self, tokenizer: Tokenizer, form: QuestionForm) -> None:
        self._tokenizer, self._form, self._frame = tokenizer, form, Frame(tokenizer, pair=True)
        if form.longest < 4 * self._frame.size or form.stride < 1:
            raise UserError(f"Windows of {form.longest} tokens leave no room for a passage.", "Raise longest.")

    def of(self, question: Question) -> list[Window]:
        """The windows of a question, in the order of the passage; the last one reaches to its end.

        The answer of a window is the first of the question's that it holds whole.
        """
        form, frame = self._form, self._frame
        asked = self._tokenizer.encode(question.text)[: int(form.longest * LONGEST_QUESTION) - frame.size]
        tokens, places = self._tokenizer.encode_with_places(question.passage)
        answers = [covering for span in question.answers if (covering := tokens_of(span, places)) is not None]
        room = form.longest - frame.size - len(asked)
        kinds = self._kinds(question, places)
        windows = []
        for start in range(0, max(1, len(tokens) - room + form.stride), form.stride):
            end = min(start + room, len(tokens))
            ids, segments = frame.fill([asked, tokens[start:end]])
            first = len(ids) - frame.behind - (end - start)
            if kinds:
                segments[first : first + end - start] = kinds[start:end]
            held = next(((a, b) for a, b in answers if start <= a and b < end), None)
            answer = NOWHERE if held is None else (first + held[0] - start, first + held[1] - start)
            row = torch.tensor(ids), torch.tensor(segments)
            windows.append(Window(*row, first, tuple(places[start:end]), answer))
        return windows

    def _kinds(self, question: Question, places: Sequence[tuple[int, int]]) -> list[int]:
        """The segment of every token of the passage, none where all have the same."""
        if not self._form.marks:
            return []
        of_characters = [*character_kinds(question.text, question.passage), 0]
        kinds = []
        for start, end in places:
            blanks = len(question.passage[start:end]) - len(question.passage[start:end].lstrip())
            kinds.append(1 + of_characters[min(start + blanks, max(start, end - 1))])
        return kinds


def tokens_of(span: Span, places: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """First and last of the tokens that reach into a span; None where none does.

    An answer may end within a token, as before the particle of a Korean word: then it is the whole token.
    """
    touching = [number for number, (start, end) in enumerate(places) if start < span.end and end > span.start]
    return (touching[0], touching[-1]) if touching else None


def learning_windows(windows: Sequence[Window], number: int) -> list[Window]:
    """The windows of a question to learn from: one that holds the answer, or one where none does.

    All of them would be nearly the same passage again. To one question in `EMPTY` a window of its own passage is added
    that does not hold the answer.

    Args:
        number: of the question; which of several windows is taken.
    """
    held = [window for window in windows if window.answer != NOWHERE]
    empty = [window for window in windows if window.answer == NOWHERE]
    parts = [held, empty] if held and number % EMPTY == 0 else [held or empty]
    return [part[number // EMPTY % len(part)] for part in parts if part]
