"""Runs of words or characters as 64-bit numbers: what near duplicates and contamination compare."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

WORDS = 5
"""Words in a shingle of text that is written in an alphabet."""

SYLLABLES = 9
"""Characters, without blanks, in a shingle of Korean text: particles change eojeol, and spacing is free."""

LONGEST = 1 << 22
"""Characters; of a longer text the beginning is compared, which bounds the memory."""

HANGUL = re.compile("[\uac00-\ud7a3]")
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)


def shingles(texts: Sequence[str]) -> list[Hashes]:
    """(n,) shingles of each text as they follow each other: of characters where a third is Hangul, else of words.

    A text shorter than a shingle is one shingle. Many texts at a time cost a fraction of one at a time.
    """
    found: list[Hashes] = [np.empty(0, dtype=np.uint64)] * len(texts)
    korean, other = {}, {}
    for number, text in enumerate(texts):
        words = unicodedata.normalize("NFC", text[:LONGEST]).lower().split()
        compact = "".join(words)
        if _is_korean(compact):
            korean[number] = compact
        elif words:
            other[number] = words
    syllables = _runs_within(characters("".join(korean.values())), [len(one) for one in korean.values()], SYLLABLES)
    hashes = _word_hashes(" ".join(itertools.chain.from_iterable(other.values())))
    runs_of_words = _runs_within(hashes, [len(one) for one in other.values()], WORDS)
    for number, one in zip([*korean, *other], [*syllables, *runs_of_words], strict=True):
        found[number] = one
    return found


def _is_korean(compact: str) -> bool:
    if compact.isascii():
        return False
    codes = np.frombuffer(compact.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return bool(3 * np.count_nonzero(codes - np.uint32(0xAC00) <= 0xD7A3 - 0xAC00) > len(codes))


def characters(text: str) -> Hashes:
    """(n,) code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)


def runs(items: Hashes, length: int) -> Hashes:
    """(n - length + 1,) hashes of every `length` consecutive items; one of all of them when there are fewer."""
    (found,) = _runs_within(items, [len(items)], length)
    return found


def _runs_within(items: Hashes, sizes: Sequence[int], length: int) -> list[Hashes]:
    """`runs` of the items of each text, of which there are so many one after the other."""
    each = np.array(sizes, dtype=np.int64)
    lengths = np.minimum(each, length)
    counts = np.where(each > 0, each - lengths + 1, 0)
    ends = np.cumsum(counts)
    starts = np.arange(counts.sum()) + np.repeat(np.cumsum(each) - each - (ends - counts), counts)
    hashes = _hash_spans(items, starts, starts + np.repeat(lengths, counts))
    return [hashes[end - count : end] for end, count in zip(ends.tolist(), counts.tolist(), strict=True)]


def _word_hashes(text: str) -> Hashes:
    """(n,) a hash of each of the n words between single blanks."""
    codes = characters(text)
    blanks = np.flatnonzero(codes == ord(" "))
    return _hash_spans(codes, np.concatenate([[0], blanks + 1]), np.concatenate([blanks, [len(codes)]]))


def _hash_spans(items: Hashes, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Hashes:
    """(n,) a hash of the items from each start to before its end.

    A polynomial modulo 2**64 as a difference of two running sums, so that its cost does not grow with the spans.
    """
    powers, inverses = _powers(1 << max(10, len(items).bit_length()))
    sums = np.zeros(len(items) + 1, dtype=np.uint64)
    np.cumsum(items * powers[: len(items)], out=sums[1:])
    return mix_bits((sums[ends] - sums[starts]) * inverses[starts])


def mix_bits(values: Hashes) -> Hashes:
    """Spread every bit of 64-bit values over all of them (the finalizer of splitmix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@lru_cache(maxsize=8)
def _powers(count: int) -> tuple[Hashes, Hashes]:
    """The first powers of the polynomial's base, and of its inverse, modulo 2**64."""
    bases = np.full((2, count), [[_BASE], [_INVERSE]], dtype=np.uint64)
    bases[:, 0] = 1
    powers = np.cumprod(bases, axis=1, dtype=np.uint64)
    return powers[0], powers[1]
