"""How far an answer is the one that was wanted: exact match and F1 of SQuAD, and those of KorQuAD.

SQuAD (Rajpurkar and others 2016, arXiv:1606.05250, section 6.1) counts words, without case, punctuation and English
articles. KorQuAD 1.0 (Lim and others 2019, arXiv:1909.07005, section 4) counts characters, since Korean words carry
their particles with them.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Literal

Unit = Literal["word", "character"]
"""What F1 counts: words as SQuAD, characters as KorQuAD."""

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_MARKS = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))
"""Quotation marks and brackets, which KorQuAD takes for blanks."""


def plain_answer(answer: str, unit: Unit) -> list[str]:
    """The words of an answer as they are compared."""
    if unit == "character":
        return answer.translate(_MARKS).lower().translate(_PUNCTUATION).split()
    return _ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split()


def exact_match(answer: str, wanted: Sequence[str], unit: Unit) -> float:
    """1 where an answer is one of those wanted, else 0; "" is right where none is wanted."""
    ours = plain_answer(answer, unit)
    return float(any(ours == plain_answer(one, unit) for one in wanted or [""]))


def answer_f1(answer: str, wanted: Sequence[str], unit: Unit) -> float:
    """The best F1 of the shared words or characters with one of those wanted; 1 for "" where none is wanted."""
    return max(_f1(_units(answer, unit), _units(one, unit)) for one in wanted or [""])


def _units(answer: str, unit: Unit) -> list[str]:
    found = plain_answer(answer, unit)
    return found if unit == "word" else list("".join(found))


def _f1(ours: list[str], theirs: list[str]) -> float:
    if not ours or not theirs:
        return float(ours == theirs)
    shared = (Counter(ours) & Counter(theirs)).total()
    return 2 * shared / (len(ours) + len(theirs))
