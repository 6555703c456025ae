"""What is measured of a text: lengths, shapes of lines, letters, words, repetition. No measure knows a limit.

The measures of lines and of repetition are those of Gopher (arXiv 2112.11446, appendix A1) and of FineWeb (arXiv
2406.17557), counted on words between blanks, which in Korean are eojeol.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cached_property, lru_cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from malmoi.corpus.words import word_lists

LONG_RUN = 60
"""Characters without a blank that no word and hardly an address has."""
SHORT_LINE = 20
OTHER, LETTER, LATIN, HANGUL, SYMBOL = range(5)
"""Kinds of characters; LATIN are the ASCII letters, LETTER those that are neither Latin nor Hangul."""
_SYMBOLS = "#|<>{}\\=~^★☆◆◇■□▶►●○♥♡※→…"
_LONG_RUNS = re.compile(rf"[!-~]{{{LONG_RUN},}}")
_BULLET = re.compile(r"[-*+•●○◦▪■□▶►‣·※★☆#>|]|\d{1,3}[.)]")
_SENTENCE_END = re.compile(r"""[.!?][)"'”’]?(?!\S)""")


@lru_cache(1)
def _kinds() -> NDArray[np.uint8]:
    """(65536,) the kind of each character; what lies beyond counts as the last one, OTHER."""
    kinds = np.array([LETTER if chr(code).isalpha() else OTHER for code in range(0x10000)], np.uint8)
    for first, last in ("AZ", "az"):
        kinds[ord(first) : ord(last) + 1] = LATIN
    for first, last in ("\u1100\u11ff", "\u3131\u318e", "\ua960\ua97c", "\uac00\ud7a3", "\ud7b0\ud7fb"):
        kinds[ord(first) : ord(last) + 1] = HANGUL
    kinds[[ord(symbol) for symbol in _SYMBOLS]] = SYMBOL
    return kinds


@lru_cache(1)
def _endings() -> NDArray[np.bool_]:
    """(65536,) whether a character ends most eojeol of Korean prose."""
    endings = np.zeros(0x10000, bool)
    endings[[ord(ending) for ending in word_lists().endings]] = True
    return endings


class Text:
    """A text that is cut into characters, words and lines once for all measures."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def codes(self) -> NDArray[np.uint32]:
        """(characters,) code points, those beyond the first plane as U+FFFF."""
        codes = np.frombuffer(self.text.encode("utf-32-le", "replace"), np.uint32)
        return np.minimum(codes, 0xFFFF)

    @cached_property
    def kinds(self) -> NDArray[np.uint8]:
        """(characters,) the kind of each character."""
        return _kinds()[self.codes]

    @cached_property
    def kind_counts(self) -> NDArray[np.int64]:
        """(5,) how many characters are OTHER, LETTER, LATIN, HANGUL, SYMBOL."""
        return np.bincount(self.kinds, minlength=5)

    @cached_property
    def words(self) -> list[str]:
        return self.text.split()

    @cached_property
    def lower(self) -> list[str]:
        return self.text.lower().split()

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(words,) characters of each word."""
        return np.fromiter(map(len, self.words), np.int64, len(self.words))

    @cached_property
    def visible(self) -> int:
        """Characters that are no blanks."""
        return int(self.lengths.sum())

    @cached_property
    def lines(self) -> list[str]:
        """Lines that are not empty, without the blanks around them."""
        return [line for line in map(str.strip, self.text.split("\n")) if line]

    @cached_property
    def grams(self) -> dict[int, NDArray[np.int64]]:
        """For n = 1, 2, 4, 5: (words - n + 1,) a number for each n-gram of words, equal where these are equal."""
        number = {word: place for place, word in enumerate(dict.fromkeys(self.words))}
        one = np.fromiter(map(number.__getitem__, self.words), np.int64, len(self.words))
        two = _pairs(one, one, 1)
        four = _pairs(two, two, 2)
        return {1: one, 2: two, 4: four, 5: _pairs(four, one, 4)}


def _pairs(first: NDArray[np.int64], second: NDArray[np.int64], gap: int) -> NDArray[np.int64]:
    """A number below the count of pairs for each item of `first` with the one of `second` that is `gap` further on."""
    size = max(0, min(len(first), len(second) - gap))
    if not size:
        return first[:0]
    pairs = first[:size] * (int(second.max()) + 1) + second[gap : gap + size]
    order = pairs.argsort()
    ranks = np.zeros(size, np.int64)
    ranks[order[1:]] = (np.diff(pairs[order]) != 0).cumsum()
    return ranks


def words(text: Text) -> float:
    """Words; in Korean, eojeol."""
    return len(text.words)


def mean_word(text: Text) -> float:
    """Mean length of a word in characters."""
    return text.visible / max(1, len(text.words))


def long_runs(text: Text) -> float:
    """Share of characters in runs of ASCII without a blank that are longer than any word, such as base64."""
    if not (text.lengths >= LONG_RUN).any():
        return 0.0
    return sum(map(len, _LONG_RUNS.findall(text.text))) / text.visible


def letters(text: Text) -> float:
    """Share of letters among the characters that are no blanks."""
    return float(text.kind_counts[[LETTER, LATIN, HANGUL]].sum()) / max(1, text.visible)


def symbols(text: Text) -> float:
    """Hash marks, bars, brackets of code, stars, arrows and ellipses a word."""
    return (int(text.kind_counts[SYMBOL]) + text.text.count("...")) / max(1, len(text.words))


def replaced(text: Text) -> float:
    """Share of U+FFFD, left by bytes that fit no encoding."""
    return text.text.count("\ufffd") / max(1, text.visible)


def short_lines(text: Text) -> float:
    """Share of lines of at most 20 characters."""
    return sum(len(line) <= SHORT_LINE for line in text.lines) / max(1, len(text.lines))


def bullet_lines(text: Text) -> float:
    """Share of lines that begin with a bullet or a number and a stop."""
    return sum(map(bool, map(_BULLET.match, text.lines))) / max(1, len(text.lines))


def ellipsis_lines(text: Text) -> float:
    """Share of lines that break off in an ellipsis."""
    return sum(line.endswith(("...", "…")) for line in text.lines) / max(1, len(text.lines))


def sentence_ends(text: Text) -> float:
    """Ends of sentences (a stop, a question or an exclamation mark before a blank) a word."""
    return len(_SENTENCE_END.findall(text.text)) / max(1, len(text.words))


def lorem_ipsum(text: Text) -> float:
    """Share of words that are filler Latin."""
    return sum(map(word_lists().filler.__contains__, text.lower)) / max(1, len(text.words))


def stop_words(text: Text) -> float:
    """Share of words that are English function words."""
    return sum(map(word_lists().stop_words.__contains__, text.lower)) / max(1, len(text.words))


def particles(text: Text) -> float:
    """Share of the runs of Hangul that end in a syllable which ends most eojeol of Korean prose: particles, endings."""
    hangul = text.kinds == HANGUL
    ends = text.codes[hangul & ~np.append(hangul[1:], False)]
    return int(_endings()[ends].sum()) / max(1, len(ends))


def distinct_words(text: Text) -> float:
    """Distinct words a square root of the words, which hardly falls with the length of a text.

    A text of less than 50 words counts as if it went on to 50 in its way.
    """
    count = max(1, len(text.words))
    return len(set(text.words)) / count * sqrt(max(50, count))


def duplicate_lines(text: Text) -> float:
    """Share of characters in lines that stood there before."""
    again = sum((count - 1) * len(line) for line, count in Counter(text.lines).items() if count > 1)
    return again / max(1, sum(map(len, text.lines)))


def top_gram(size: int) -> Callable[[Text], float]:
    """Share of characters in the n-gram of words that is found most often, where it is found twice."""

    def measure(text: Text) -> float:
        grams = text.grams[size]
        counts = np.bincount(grams, minlength=1)
        best = int(counts.argmax())
        if counts[best] < 2:
            return 0.0
        place = int((grams == best).argmax())
        return int(counts[best]) * int(text.lengths[place : place + size].sum()) / text.visible

    return measure


def duplicate_grams(size: int) -> Callable[[Text], float]:
    """Share of characters in n-grams of words that stood there before; none is counted twice."""

    def measure(text: Text) -> float:
        grams = text.grams[size]
        if not len(grams):
            return 0.0
        places = np.arange(len(grams))
        first = np.full(int(grams.max()) + 1, len(grams))
        np.minimum.at(first, grams, places)
        again = first[grams] != places
        covered = np.zeros(len(text.words) + 1, np.int64)
        covered[:-size] = again
        covered[size:] -= again
        return float(text.lengths[covered[:-1].cumsum() > 0].sum() / text.visible)

    return measure
