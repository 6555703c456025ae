"""Word by word: a dictionary learned from pairs alone, the control for every translator."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

ROUNDS = 5
"""Of expectation and maximisation."""

_WORDS = re.compile(r"\w+|[^\w\s]")
_NULL = ""
"""Stands in every source for what no word of it brings about."""


class WordTranslation:
    """IBM's first model: each word of the target comes from one word of the source (Brown and others 1993, J93-2003).

    Attributes:
        dictionary: source word -> its most probable translation.
    """

    def __init__(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        """Learn from pairs of texts; case counts."""
        pairs = [([_NULL, *_words(source)], _words(target)) for source, target in zip(sources, targets, strict=True)]
        known = [{word: number for number, word in enumerate(dict.fromkeys(words))} for words in _flat(pairs)]
        seen, place = _cooccurrences(pairs, *known)
        kinds, kind = np.unique(seen, return_inverse=True)
        origin = kinds // len(known[1])
        likelihood = np.ones(len(kinds))
        for _ in range(ROUNDS):
            weight = likelihood[kind]
            weight /= np.bincount(place, weight)[place]  # share of each source word in each target word
            counts = np.bincount(kind, weight, len(kinds))
            likelihood = counts / np.bincount(origin, counts)[origin]
        last = np.append(np.flatnonzero(np.diff(origin)), len(origin) - 1)  # of the kinds of each source word
        best = kinds[np.lexsort((likelihood, origin))[last]]
        names = [list(words) for words in known]
        self.dictionary = {names[0][one // len(names[1])]: names[1][one % len(names[1])] for one in best.tolist()}

    def translate(self, text: str) -> str:
        """The translations of the words in the order of the words; those that are not known stand for themselves."""
        return " ".join(self.dictionary.get(word, word) for word in _words(text))


def _words(text: str) -> list[str]:
    """Words and single marks."""
    return _WORDS.findall(text)


def _flat(pairs: Sequence[tuple[list[str], list[str]]]) -> tuple[list[str], list[str]]:
    """All words of the sources, and of the targets."""
    return [word for words, _ in pairs for word in words], [word for _, words in pairs for word in words]


def _cooccurrences(
    pairs: Sequence[tuple[list[str], list[str]]], sources: dict[str, int], targets: dict[str, int]
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Of every source word beside every target word of a pair: which two they are, and which target word of all."""
    kinds, places, count = [], [], 0
    for ours, theirs in pairs:
        first = np.array([sources[word] for word in ours])
        second = np.array([targets[word] for word in theirs], dtype=np.int64)
        kinds.append((first[:, None] * len(targets) + second).ravel())
        places.append(np.tile(np.arange(count, count + len(theirs)), len(ours)))
        count += len(theirs)
    return np.concatenate(kinds), np.concatenate(places)
