"""Answers that a model finds in passages, and when it says that there is none."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from malmoi.core.accelerator import device_of
from malmoi.core.console import Advance
from malmoi.data.question_windows import Windows
from malmoi.data.questions import Question, Span
from malmoi.data.span_batch import Window, collate_windows
from malmoi.evaluate.answer_overlap import Unit, answer_f1, exact_match
from malmoi.models.span_finder import SpanFinder
from malmoi.tokenizers.tokenizer import Tokenizer

ROWS = 32
"""Windows that are read at a time, of about one length."""

_PARTICLE = re.compile(
    r"(?<=[가-힣\d][가-힣])"
    r"(에서는|으로는|이라는|이라고|에서|에게|으로|까지|부터|라는|라고|은|는|이|가|을|를|의|에|로|와|과|도)$"
)
"""What stands behind a Korean noun and belongs to no answer; two syllables, or a digit and one, stay at least."""


@dataclass(frozen=True)
class Found:
    """What was found for a question.

    Attributes:
        text: the best answer; "" where nothing can be one.
        span: where it stands in the passage.
        score: how much it is preferred to "no answer"; of a model the logarithm of the odds.
    """

    text: str
    span: Span
    score: float

    def given(self, threshold: float) -> str:
        """The answer, "" for none where the score is below the threshold."""
        return self.text if self.score >= threshold else ""


@torch.inference_mode()
def find_answers(
    model: SpanFinder, tokenizer: Tokenizer, questions: Sequence[Question], advance: Advance | None = None
) -> list[Found]:
    """The best answer to each question in all windows of its passage, in the order of the questions.

    Args:
        advance: told of every question whose windows were all read, about.
    """
    model.eval()
    windows = Windows(tokenizer, model.form)
    owned = [(number, window) for number, question in enumerate(questions) for window in windows.of(question)]
    owned.sort(key=lambda one: len(one[1].tokens))
    nothing = Found("", Span(0, 0), -math.inf)
    best = [nothing] * len(questions)
    for start in range(0, len(owned), ROWS):
        chosen = owned[start : start + ROWS]
        batch = collate_windows([window for _, window in chosen]).to(device_of(model))
        scores = model(batch.tokens, batch.lengths, batch.segments).float().cpu()
        for (number, window), row in zip(chosen, scores, strict=True):
            found = _best_of_window(questions[number].passage, window, row, model.form.longest_answer)
            best[number] = max(best[number], found, key=lambda one: one.score)
        if advance:
            advance(len(chosen) * len(questions) / len(owned))
    return best


def _best_of_window(passage: str, window: Window, scores: torch.Tensor, longest: int) -> Found:
    """The best answer of up to so many tokens; its score is the logarithm of its odds against no answer.

    Tokens end where words do: a Korean answer that ends with a word is given without the particle.

    Args:
        scores: (length, 2) what the model gives for the row.
    """
    count = len(window.places)
    if not count:
        return Found("", Span(0, 0), -math.inf)
    first, last = scores[window.first : window.first + count].unbind(-1)
    sums = (first[:, None] + last[None]).masked_fill(_impossible(count, longest), -math.inf)
    start, end = divmod(int(sums.argmax()), count)
    begin, behind = window.places[start][0], window.places[end][1]
    text = passage[begin:behind]
    begin += len(text) - len(text.lstrip())
    text = without_particle(passage, Span(begin, begin + len(text.strip())))
    return Found(text, Span(begin, begin + len(text)), float(sums[start, end] - scores[0].sum()))


def without_particle(passage: str, span: Span) -> str:
    """The text of a span, without the particle of a Korean word that ends there."""
    text = passage[span.start : span.end]
    within_word = "가" <= passage[span.end : span.end + 1] <= "힣"
    return text if within_word else _PARTICLE.sub("", text)


def _impossible(count: int, longest: int) -> torch.Tensor:
    """(first, last) whether an answer would end before it begins, or be too long."""
    length = torch.arange(count)[None] - torch.arange(count)[:, None]
    return (length < 0) | (length >= longest)


def best_threshold(questions: Sequence[Question], found: Sequence[Found], unit: Unit) -> float:
    """The score from which on answers are given for the highest mean F1, that of no answer where there is none being 1.

    As SQuAD 2.0 does (Rajpurkar and others 2018, arXiv:1806.03822); halfway between two scores.
    """
    gains = []
    for question, one in zip(questions, found, strict=True):
        wanted = question.answer_texts
        gains.append((one.score, answer_f1(one.text, wanted, unit) - answer_f1("", wanted, unit)))
    gains = [gain for gain in gains if math.isfinite(gain[0])]
    if not gains:
        return 0.0
    scores, place = np.unique([score for score, _ in gains], return_inverse=True)  # equal ones are given together
    gained = np.bincount(place, [gain for _, gain in gains])
    given_from = gained[::-1].cumsum()[::-1]  # what is gained by giving it and all above
    best = int(given_from.argmax())
    if given_from[best] <= 0:
        return float(scores[-1]) + 1
    return float(scores[best] - 1 if best == 0 else (scores[best - 1] + scores[best]) / 2)


def answer_figures(
    questions: Sequence[Question], found: Sequence[Found], threshold: float, unit: Unit
) -> dict[str, float]:
    """Means over questions.

    Returns:
        `exact_match` and `f1` of the best answers to questions that have one; `f1_given` over all questions, where what
        is below the threshold is not given; and, where there are questions without an answer, `left_unanswered`, which
        share of them got none, and `wrongly_unanswered`, the same of the others.
    """
    pairs = list(zip(questions, found, strict=True))
    answerable = [(question, one) for question, one in pairs if question.answers]
    others = [one for question, one in pairs if not question.answers]
    figures = {
        "exact_match": _mean([exact_match(one.text, question.answer_texts, unit) for question, one in answerable]),
        "f1": _mean([answer_f1(one.text, question.answer_texts, unit) for question, one in answerable]),
        "f1_given": _mean([answer_f1(one.given(threshold), question.answer_texts, unit) for question, one in pairs]),
        "wrongly_unanswered": _mean([not one.given(threshold) for _, one in answerable]),
    }
    return figures | ({"left_unanswered": _mean([not one.given(threshold) for one in others])} if others else {})


def certainty(score: float, threshold: float) -> float:
    """How sure an answer of a model is, from 0 to 1; one half at the threshold."""
    return float(torch.tensor(score - threshold).sigmoid())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))
