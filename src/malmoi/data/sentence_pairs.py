"""Two halves of a text, or of two texts: does the second one go on where the first one ends?"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np

from malmoi.data.batch import IGNORED
from malmoi.data.masking import Flags, Ids

PairKind = Literal["next-sentence", "sentence-order", "shared-words"]
PAIR_KINDS: tuple[PairKind, ...] = get_args(PairKind)
"""What is asked of two texts: of halves here, of words that are shared in `malmoi.data.shared_words`."""

CLASSES = ["no", "yes"]


class Pair(NamedTuple):
    """Ids of two texts, and whether the second one goes on where the first one ends; IGNORED where nobody can tell."""

    first: Ids
    second: Ids
    goes_on: int


def halves(rows: list[Ids], places: list[int], kind: PairKind, chance: np.random.Generator) -> list[Pair]:
    """Every row cut in two; half of them as they stand.

    Args:
        rows: ids of the texts.
        places: where each is cut.
        kind: what the others are: "next-sentence" puts behind a first half the second one of another row (Devlin and
            others 2019, arXiv:1810.04805), "sentence-order" exchanges the two (Lan and others 2020, ALBERT,
            arXiv:1909.11942), which topic and language do not give away.
    """
    pairs = []
    stays = chance.random(len(rows)) < 0.5
    for number, (row, place) in enumerate(zip(rows, places, strict=True)):
        first, second = row[:place], row[place:]
        if stays[number]:
            pairs.append(Pair(first, second, 1))
        elif kind == "sentence-order":
            pairs.append(Pair(second, first, 0))
        elif len(rows) > 1:
            other = (number + 1) % len(rows)
            pairs.append(Pair(first, rows[other][places[other] :], 0))
        else:
            pairs.append(Pair(first, second, IGNORED))
    return pairs


def cut_places(begins: Flags, separators: Flags, chance: np.random.Generator) -> list[int]:
    """A place for each row: a beginning of a word inside a text, in the row's middle half; its middle if there is none.

    Args:
        begins: (rows, length), where words begin.
        separators: (rows, length), where texts end.
    """
    rows, length = begins.shape
    allowed = begins & ~separators
    allowed[:, 1:] &= ~separators[:, :-1]
    allowed[:, : length // 4] = allowed[:, length - length // 4 :] = False
    drawn = np.where(allowed, chance.random((rows, length)), -1).argmax(axis=1)
    return [int(place) if allowed[row, place] else length // 2 for row, place in enumerate(drawn)]
