"""Answers by counting words: the control for every model that finds answers in a passage.

The sliding window of Richardson and others (2013, D13-1020, algorithm 1) over the candidates of a passage, as Rajpurkar
and others (2016, arXiv:1606.05250, section 5) have it, but for the candidates: theirs are a parser's phrases.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from malmoi.data.question_words import Word, rarity, words
from malmoi.data.questions import Question, Span
from malmoi.evaluate.answer_overlap import Unit, answer_f1
from malmoi.evaluate.question_answers import Found, without_particle

COMMON, WIDTHS, LENGTHS = (0.05, 0.1, 0.2), (8, 12, 20, 30), (1, 2, 3, 4, 6)
"""What is tried on questions whose answers are known: the share of passages from which on a word is common, the words
of a window, and those of an answer."""

TRIED = 400
"""Questions on which it is tried."""

_BREAK = re.compile(r"[.,;:?!()\[\]\"“”‘’《》〈〉\n]")


@dataclass(frozen=True)
class SlidingWindow:
    """Finds answers by the question's words around them.

    Attributes:
        common: stems that are part of no answer.
        width: words of a window.
        length: words of an answer at most.
    """

    common: frozenset[str]
    width: int
    length: int

    def answer(self, question: Question) -> Found:
        """The candidate in the window that has most of the question's words, rare ones counting more.

        Candidates are what is left of a passage between the question's words, common ones and punctuation. Of those in
        equally good windows the one to whose sides the question's words stand closest is taken. The score is the
        window's share of what all of the question's words would weigh. A Korean answer is given without its particle.
        """
        found = words(question.passage)
        asked, weight = {word.stem for word in words(question.text)}, rarity(found)
        matched = np.array([weight[word.stem] if word.stem in asked else 0.0 for word in found])
        barred = [word.stem in asked or word.stem in self.common for word in found]
        sums = np.concatenate([[0.0], matched.cumsum(), np.full(self.width, matched.sum())])
        windows = sums[self.width :] - sums[: len(sums) - self.width]  # number i begins at word i
        best, where = (-1.0, 0.0), Span(0, 0)
        for first, last in _runs(question.passage, found, barred):
            if last - first < self.length:
                total = windows[max(0, last - self.width + 1) : first + 1].max(initial=0.0)
                distance = np.abs(np.arange(len(found)) - (first + last) / 2)
                key = (round(float(total), 6), float((matched / (1 + distance)).sum()))
                if key > best:
                    best, where = key, Span(found[first].start, found[last].end)
        text = without_particle(question.passage, where)
        possible = sum(weight.get(stem, math.log(2)) for stem in asked) or 1.0
        return Found(text, Span(where.start, where.start + len(text)), max(0.0, best[0]) / possible)


def fit_sliding_window(questions: Sequence[Question], unit: Unit) -> SlidingWindow:
    """The one whose settings answer some of the questions best; how common words are is counted in all passages."""
    passages = list(dict.fromkeys(question.passage for question in questions))
    counts = Counter(stem for passage in passages for stem in {word.stem for word in words(passage)})
    answered = [question for question in questions if question.answers]
    tried = answered[:: -(-len(answered) // TRIED)]

    def score(window: SlidingWindow) -> float:
        return sum(answer_f1(window.answer(one).text, one.answer_texts, unit) for one in tried)

    lists = [frozenset(stem for stem, count in counts.items() if count > share * len(passages)) for share in COMMON]
    return max((SlidingWindow(*settings) for settings in product(lists, WIDTHS, LENGTHS)), key=score)


def _runs(passage: str, found: Sequence[Word], barred: Sequence[bool]) -> list[tuple[int, int]]:
    """First and last word of every run without a barred word and without punctuation between its words."""
    runs: list[tuple[int, int]] = []
    for number, word in enumerate(found):
        if barred[number]:
            continue
        beside = bool(runs) and runs[-1][1] == number - 1
        goes_on = beside and not _BREAK.search(passage, found[number - 1].end, word.start)
        runs[-1:] = [(runs[-1][0], number)] if goes_on else [*runs[-1:], (number, number)]
    return runs
