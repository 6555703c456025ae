"""chrF: how many runs of characters an answer shares with the one that was wanted (Popović 2015, W15-3049).

The F-score of 1 to 6 characters that weighs recall twice, over a whole set of answers, blanks left out, as sacrebleu
computes `chrF2`. It judges translations where hardly any answer is literally the expected one, and Korean, whose words
carry their particles with them, as well as English.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from malmoi.evaluate.interval import Figures

LONGEST = 6
"""Characters of the longest run."""

RECALL_WEIGHT = 2


def overlap_counts(answer: str, wanted: str) -> list[int]:
    """For each length of a run: how many the answer has, how many the wanted text has, how many they share.

    Runs longer than the wanted text count for nothing.
    """
    counts = []
    for length in range(1, LONGEST + 1):
        ours, theirs = _runs(answer, length), _runs(wanted, length)
        counts += [ours.total() if theirs else 0, theirs.total(), (ours & theirs).total()]
    return counts


def chrf(sums: Figures) -> Figures:
    """(n, 18) sums of `overlap_counts` to (n,) scores between 0 and 1.

    Precision and recall are means over the lengths that occur on both sides.
    """
    ours, theirs, shared = (sums[:, place::3] for place in range(3))
    both = (ours > 0) & (theirs > 0)
    lengths = np.maximum(both.sum(axis=1), 1)
    precision = (both * shared / np.maximum(ours, 1)).sum(axis=1) / lengths
    recall = (both * shared / np.maximum(theirs, 1)).sum(axis=1) / lengths
    weight = RECALL_WEIGHT**2
    below = weight * precision + recall
    scores: Figures = (1 + weight) * precision * recall / np.where(below > 0, below, 1)
    return scores


def score_answers(answers: Sequence[str], wanted: Sequence[str]) -> Figures:
    """(items, 18) float64 `overlap_counts` of every answer."""
    pairs = zip(answers, wanted, strict=True)
    return np.array([overlap_counts(answer, text) for answer, text in pairs], dtype=np.float64).reshape(-1, 3 * LONGEST)


def _runs(text: str, length: int) -> Counter[str]:
    characters = "".join(text.split())
    return Counter(characters[start : start + length] for start in range(len(characters) - length + 1))
