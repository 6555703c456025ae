"""Which words of a passage a question has too, in any of their forms, and where in the passage they are close."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass

_WORD = re.compile(r"[가-힣]+|\d+(?:[.,]\d+)*|[^\W\d_가-힣]+")

HANGUL_STEM, STEM = 2, 5
"""Letters by which two forms of a word are taken for one: Korean has particles and endings behind its stems."""

REACH = 12
"""Words on either side that count as close."""

NEAR, CLOSE = 0.5, 0.8
"""Shares of the best place's weight from which on a place counts as near, and as close."""

KINDS = 6
"""What a word of a passage may be: one of the question or not, each at a far, near or close place."""


@dataclass(frozen=True)
class Word:
    """A word with its place in a text, in characters, and the stem that all its forms share."""

    start: int
    end: int
    stem: str


def words(text: str) -> list[Word]:
    """The words of a text: runs of Hangul, of other letters, and numbers; `1989년` is two."""
    return [Word(found.start(), found.end(), _stem(found[0].casefold())) for found in _WORD.finditer(text)]


def _stem(word: str) -> str:
    if word[0].isdigit():
        return word
    return word[: HANGUL_STEM if "가" <= word[0] <= "힣" else STEM]


def rarity(passage: list[Word]) -> dict[str, float]:
    """Stem to log(1 + 1 / how often it stands there), the weight of Richardson and others (2013, D13-1020)."""
    return {stem: math.log1p(1 / count) for stem, count in Counter(word.stem for word in passage).items()}


def character_kinds(question: str, passage: str) -> list[int]:
    """The kind, from 0 to before `KINDS`, of every character of the passage; what is between words is as those around.

    Whether a word occurs in the question helps a small reader most (Chen and others 2017, arXiv:1704.00051, "exact
    match"). Here stems decide, and the kind also says how many of the question's words are close by: the summed
    `rarity` of different ones up to `REACH` words away, in three steps below the best place of the passage.
    """
    found = words(passage)
    if not found:
        return [0] * len(passage)
    asked, weight = {word.stem for word in words(question)}, rarity(found)
    sums = _close_weights([word.stem if word.stem in asked else "" for word in found], weight)
    best = max(sums) or math.inf
    kinds = [0] * len(passage)
    end = 0
    for word, total in zip(found, sums, strict=True):
        place = (total >= NEAR * best) + (total >= CLOSE * best)
        kinds[end : word.start] = [place] * (word.start - end)
        kinds[word.start : word.end] = [place + 3 * (word.stem in asked)] * (word.end - word.start)
        end = word.end
    kinds[end:] = [kinds[end - 1] % 3] * (len(passage) - end)
    return kinds


def _close_weights(matched: list[str], weight: dict[str, float]) -> list[float]:
    """For each word the summed weight of the different matched stems up to `REACH` words away; "" is no match."""
    counts: Counter[str] = Counter(stem for stem in matched[:REACH] if stem)
    sums = []
    for place in range(len(matched)):
        if place + REACH < len(matched) and (entering := matched[place + REACH]):
            counts[entering] += 1
        if place > REACH and (leaving := matched[place - REACH - 1]):
            counts[leaving] -= 1
            if not counts[leaving]:
                del counts[leaving]
        sums.append(sum(weight[stem] for stem in counts))
    return sums
