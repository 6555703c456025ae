"""Lines and paragraphs that many documents share: menus, notices, signatures. The first that stays keeps them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np

from malmoi.corpus.shingles import Hashes

SHORTEST = 16
"""Characters; shorter lines repeat in dialogues, poems and code without being a notice."""

_AT_ONCE = 1 << 23


def piece_hashes(text: str) -> Hashes:
    """(n,) one hash for each different line, and for each paragraph of several lines, that is long enough."""
    hashes = [_hash(paragraph) for paragraph in text.split("\n\n") if "\n" in paragraph and _counts(paragraph)]
    hashes += [_hash(line) for line in text.split("\n") if _counts(line)]
    return np.unique(np.array(hashes, dtype=np.uint64))


def repeated_hashes(columns: Callable[[], Iterator[Hashes]], documents: int) -> Hashes:
    """The hashes that at least so many documents have, sorted.

    Args:
        columns: gives the hashes of all documents, some at a time, from the beginning at each call; it is called once
            for every 8 million of them, which bounds the memory.
    """
    rounds = sum(map(len, columns())) // _AT_ONCE + 1
    found = []
    for number in range(rounds):
        chosen = [column[column % np.uint64(rounds) == number] for column in columns()]
        values, counts = np.unique(np.concatenate([np.empty(0, np.uint64), *chosen]), return_counts=True)
        found.append(values[counts >= documents])
    return np.sort(np.concatenate(found))


class RepeatedText:
    """Removes repeated pieces from one document after the other; the first that has a piece and stays keeps it."""

    def __init__(self, repeated: Hashes) -> None:
        self._repeated = set(repeated.tolist())
        self._kept: set[int] = set()

    def keep(self, hashes: Hashes) -> None:
        """Remember that a document stays; `hashes` are its `piece_hashes`."""
        self._kept |= self._repeated.intersection(hashes.tolist())

    def remove(self, text: str, hashes: Hashes) -> str:
        """The text without what one that stays has; `hashes` are its `piece_hashes`."""
        known = self._kept.intersection(hashes.tolist())
        if not known:
            return text
        paragraphs = (
            "" if "\n" in paragraph and _hash(paragraph) in known else _without(paragraph, known)
            for paragraph in text.split("\n\n")
        )
        return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _without(paragraph: str, known: set[int]) -> str:
    return "\n".join(line for line in paragraph.split("\n") if not (_counts(line) and _hash(line) in known))


def _counts(piece: str) -> bool:
    return len(piece) >= SHORTEST and not piece.isspace()


def _hash(piece: str) -> int:
    return int.from_bytes(hashlib.blake2b(piece.strip().encode(), digest_size=8).digest(), "little")
