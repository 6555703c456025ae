"""Questions made of passages themselves: a sentence without a stretch of it, which is the answer.

Where there are few questions, made ones teach a model to look for what a question's words stand around (Lewis and
others 2019, arXiv:1906.04980: unsupervised question answering by cloze translation).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from malmoi.core.hashing import text_digest
from malmoi.data.questions import Question, Span

KEPT = 0.6
"""Share of the other words of the sentence that stand in the question."""

LEAST = 3
"""Words of the sentence that a question has at least."""

_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?!\s|$)[^.!?\n]*)*[.!?]?")
_KOREAN_ANSWER = re.compile(
    r"\d[\d,.]*\s?(?:년|월|일|명|개|세|위|회|차|번|시|분|퍼센트|%|km|m|kg|만|억|조|대|호)?(?:\s\d+[월일])*"
    r"|[가-힣A-Za-z·]{2,}?(?=(?:에서는|으로는|에서|에게|으로|까지|부터|은|는|이|가|을|를|의|에|로|와|과|도)(?:[\s,.]|$))"
)
_ANSWER = re.compile(r"\d[\d,.]*\d|\d|(?<=[\w,] )[A-ZÄÖÜ][\w'-]+(?: (?:of |the |de |von |der )?[A-ZÄÖÜ][\w'-]+)*")
_YEAR = re.compile(r"1\d{3}|20\d{2}")

WORDS = {
    "ko": {"year": "언제 몇 년", "number": "얼마 몇", "name": "누구 무엇"},
    "en": {"year": "When What year", "number": "How many", "name": "Who What Which"},
    "de": {"year": "Wann In welchem Jahr", "number": "Wie viele", "name": "Wer Was Welche"},
}
"""What asks for each kind of answer, by language; one of the words is taken."""


def cloze_questions(passages: Sequence[str], number: int, language: str, seed: int) -> list[Question]:
    """Up to so many made questions, spread over the passages; the same at every run.

    Args:
        language: "en", "de" or "ko", of the words that ask.
    """
    made = [question for passage in passages for question in _of_passage(passage, language, seed)]
    order = np.random.default_rng(seed).permutation(len(made))[:number]
    return [made[place] for place in sorted(order)]


def _of_passage(passage: str, language: str, seed: int) -> Iterator[Question]:
    """A question for every stretch of every sentence that may be an answer."""
    chance = np.random.default_rng(int.from_bytes(text_digest(f"{seed}/{passage}")[:8], "little"))
    pattern = _KOREAN_ANSWER if language == "ko" else _ANSWER
    for sentence in _SENTENCE.finditer(passage):
        for found in pattern.finditer(passage, sentence.start(), sentence.end()):
            start, end = found.start(), found.start() + len(found[0].rstrip(" ,."))
            others = f"{passage[sentence.start() : start]} {passage[end : sentence.end()]}".split()
            kept = [word.strip(",.()\"'") for word in others if chance.random() < KEPT]
            if len(kept) < LEAST or not passage[start:end].strip():
                continue
            asking = WORDS[language][_kind(passage[start:end])].split()
            ask = asking[int(chance.integers(len(asking)))]
            turn = int(chance.integers(len(kept)))  # the words go round, so that their order gives less away
            words = [*kept[turn:], *kept[:turn]]
            text = " ".join([*words, ask] if language == "ko" else [ask, *words]) + "?"
            yield Question(text, passage, (Span(start, end),), f"made/{start}")


def _kind(answer: str) -> str:
    if _YEAR.match(answer):
        return "year"
    return "number" if answer[0].isdigit() else "name"
