"""Duplicates: equal texts by their hash, similar ones by MinHash, bands and the true Jaccard similarity."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from malmoi.corpus.shingles import Hashes, mix_bits, shingles

BANDS, ROWS = 14, 8
"""A pair of similarity s shares a band with probability 1 - (1 - s**8)**14: 0.92 at 0.8, 0.9996 at 0.9."""

LEADERS = 16
"""Documents of a bucket that the others are compared with; pages of one template would be compared all with all."""

_CHUNK = 2_048
_TEXTS, _KEPT = 64, 512
"""Documents that are hashed together, and whose shingles are kept while they are compared."""

_random = np.random.default_rng(1997)
_FACTORS = _random.integers(0, 1 << 31, (BANDS * ROWS, 1), dtype=np.uint32) * np.uint32(2) + np.uint32(1)
_PRODUCTS = np.empty((BANDS * ROWS, _CHUNK), dtype=np.uint32)
_BAND_FACTORS = _random.integers(0, 1 << 63, ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def signature(features: Hashes) -> NDArray[np.uint32]:
    """(112,) minima of as many hash functions over the features of a text (Broder 1997).

    The functions are a * x modulo 2**32 with an odd a, of numbers that are random already; the modulus is what makes
    their orders differ.
    """
    least = np.full(BANDS * ROWS, 0xFFFFFFFF, dtype=np.uint32)
    for start in range(0, len(features), _CHUNK):
        values = (features[start : start + _CHUNK] >> np.uint64(32)).astype(np.uint32)
        products = np.multiply(values, _FACTORS, out=_PRODUCTS[:, : len(values)])  # fresh memory would cost more
        np.minimum(least, products.min(axis=1), out=least)
    return least


def band_keys(texts: Sequence[str]) -> Hashes:
    """(texts, 14) one number for each band of a text's signature; similar texts are likely to share one."""
    keys = np.empty((len(texts), BANDS), dtype=np.uint64)
    for start in range(0, len(texts), _TEXTS):
        minima = np.stack([signature(features) for features in shingles(texts[start : start + _TEXTS])])
        rows = minima.astype(np.uint64).reshape(-1, BANDS, ROWS)
        keys[start : start + _TEXTS] = mix_bits((rows * _BAND_FACTORS).sum(axis=2, dtype=np.uint64))
    return keys


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
    features, groups = _Features(text), _Groups()
    for keys in columns:
        for buckets in _gathered(numbers[bucket].tolist() for bucket in _buckets(keys)):
            features.load(number for bucket in buckets if groups.differ(bucket) for number in bucket)
            for waiting in buckets:
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


def _gathered(buckets: Iterator[list[int]]) -> Iterator[list[list[int]]]:
    """The buckets, so many at a time that their documents are about as many as are hashed together."""
    gathered: list[list[int]] = []
    for bucket in buckets:
        gathered.append(bucket)
        if sum(map(len, gathered)) >= _TEXTS:
            yield gathered
            gathered = []
    yield gathered


class _Features:
    """The shingles of the documents asked for last, sorted and without repetitions."""

    def __init__(self, text: Callable[[int], str]) -> None:
        self._text = text
        self._kept: dict[int, Hashes] = {}

    def load(self, numbers: Iterable[int]) -> None:
        """Hash the first of several documents at once, which costs less than one after the other."""
        missing = list(itertools.islice((one for one in dict.fromkeys(numbers) if one not in self._kept), _KEPT))
        for start in range(0, len(missing), _TEXTS):
            part = missing[start : start + _TEXTS]
            self._kept.update(zip(part, map(np.unique, shingles(list(map(self._text, part)))), strict=True))
        while len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]

    def __call__(self, number: int) -> Hashes:
        if number not in self._kept:
            self.load([number])
        return self._kept[number]


class _Groups:
    """Connected components of verified pairs: a union-find whose roots are the first documents."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}
        self.similarity: dict[int, float] = {}

    def find(self, number: int) -> int:
        while (parent := self._parent.get(number, number)) != number:
            self._parent[number] = number = self._parent.get(parent, parent)
        return number

    def differ(self, numbers: Iterable[int]) -> bool:
        """Whether some of the documents are in another group than the others."""
        return len(set(map(self.find, numbers))) > 1

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
