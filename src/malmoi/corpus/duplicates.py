"""Duplicates: equal texts by their hash, similar ones by MinHash, bands and the true Jaccard similarity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from malmoi.corpus.shingles import Hashes, mix_bits, shingles

BANDS, ROWS = 14, 8
"""A pair of similarity s shares a band with probability 1 - (1 - s**8)**14: 0.92 at 0.8, 0.9996 at 0.9."""

LEADERS = 16
"""Documents of a bucket that the others are compared with; pages of one template would be compared all with all."""

_CHUNK = 4_096
_random = np.random.default_rng(1997)
_FACTORS = _random.integers(0, 1 << 31, (BANDS * ROWS, 1), dtype=np.uint32) * np.uint32(2) + np.uint32(1)
_BAND_FACTORS = _random.integers(0, 1 << 63, ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def signature(features: Hashes) -> NDArray[np.uint32]:
    """(112,) minima of as many hash functions over the features of a text (Broder 1997).

    The functions are a * x modulo 2**32 with an odd a, of numbers that are random already; the modulus is what makes
    their orders differ.
    """
    least = np.full(BANDS * ROWS, 0xFFFFFFFF, dtype=np.uint32)
    for start in range(0, len(features), _CHUNK):
        values = (features[start : start + _CHUNK] >> np.uint64(32)).astype(np.uint32) * _FACTORS
        np.minimum(least, values.min(axis=1), out=least)
    return least


def band_keys(text: str) -> Hashes:
    """(14,) one number for each band of the text's signature; similar texts are likely to share one."""
    rows = signature(shingles(text)).astype(np.uint64).reshape(BANDS, ROWS)
    return mix_bits((rows * _BAND_FACTORS).sum(axis=1, dtype=np.uint64))


def jaccard(one: Hashes, other: Hashes) -> float:
    """Shared shingles among all of two texts; both sorted and without repetitions."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(1, len(one) + len(other) - shared)


def first_of_equal(digests: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """(n,) for each digest the number of the first one that is equal to it."""
    _, first, group = np.unique(digests, return_index=True, return_inverse=True)
    return first[group].astype(np.int64)


@dataclass(frozen=True)
class Similar:
    """A document like an earlier one: the earlier one's number, and how like the document is to its group."""

    first: int
    similarity: float
    equal: bool = False


def near_duplicates(
    columns: Iterator[Hashes], numbers: NDArray[np.int64], text: Callable[[int], str], threshold: float
) -> dict[int, Similar]:
    """Documents that are like an earlier one, directly or through others; the first of each group is not among them.

    Args:
        columns: for each band the (n,) keys of the n documents that are compared.
        numbers: (n,) their numbers, rising.
        text: the text of a number.
        threshold: least Jaccard similarity of the shingles of a pair.
    """
    features = lru_cache(maxsize=512)(lambda number: np.unique(shingles(text(number))))
    groups = _Groups()
    for keys in columns:
        for bucket in _buckets(keys):
            waiting = [int(number) for number in numbers[bucket]]
            for _ in range(LEADERS):
                if len(waiting) < 2:
                    break
                leader, *others = waiting
                waiting = [other for other in others if not groups.join(leader, other, features, threshold)]
    return {number: Similar(groups.find(number), value) for number, value in sorted(groups.similarity.items())}


def _buckets(keys: Hashes) -> Iterator[NDArray[np.int64]]:
    """The places of equal keys, where there are several."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=~keys[order[:1]]))
    sizes = np.diff(starts, append=len(keys))
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        yield order[start : start + size]


class _Groups:
    """Connected components of verified pairs: a union-find whose roots are the first documents."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}
        self.similarity: dict[int, float] = {}

    def find(self, number: int) -> int:
        while (parent := self._parent.get(number, number)) != number:
            self._parent[number] = number = self._parent.get(parent, parent)
        return number

    def join(self, one: int, other: int, features: Callable[[int], Hashes], threshold: float) -> bool:
        """Whether two documents are in one group now."""
        first, second = sorted((self.find(one), self.find(other)))
        if first == second:
            return True
        similarity = jaccard(features(one), features(other))
        if similarity < threshold:
            return False
        self._parent[second] = first
        self.similarity[second] = similarity
        return True
