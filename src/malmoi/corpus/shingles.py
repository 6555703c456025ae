"""Runs of words or characters as 64-bit numbers: what near duplicates and contamination compare."""

from __future__ import annotations

import hashlib
import re
import unicodedata
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


def shingles(text: str) -> Hashes:
    """(n,) shingles of a text as they follow each other: of characters where a third is Hangul, else of words.

    A text shorter than a shingle is one shingle.
    """
    text = unicodedata.normalize("NFC", text[:LONGEST]).lower()
    if not text.isascii():
        compact = without_blanks(text)
        if 3 * len(HANGUL.findall(compact)) > len(compact):
            return runs(characters(compact), SYLLABLES)
    return runs(np.fromiter(map(_WORD_HASHES.__getitem__, text.split()), dtype=np.uint64), WORDS)


def without_blanks(text: str) -> str:
    """The text without any blank."""
    return "".join(text.split())


def characters(text: str) -> Hashes:
    """(n,) code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)


def runs(items: Hashes, length: int) -> Hashes:
    """(n - length + 1,) hashes of every `length` consecutive items; one of all of them when there are fewer.

    A polynomial modulo 2**64 as a difference of two running sums, so that its cost does not grow with `length`.
    """
    length = max(1, min(length, len(items)))
    powers, inverses = _powers(1 << max(10, len(items).bit_length()))
    sums = np.zeros(len(items) + 1, dtype=np.uint64)
    np.cumsum(items * powers[: len(items)], out=sums[1:])
    return mix_bits((sums[length:] - sums[:-length]) * inverses[: len(items) - length + 1])


def mix_bits(values: Hashes) -> Hashes:
    """Spread every bit of 64-bit values over all of them (the finalizer of splitmix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class _WordHashes(dict[str, int]):
    """64 bits a word that are the same in every process, which Python's own hash is not."""

    def __missing__(self, word: str) -> int:
        if len(self) >= 1 << 18:
            self.clear()
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        value = self[word] = int.from_bytes(digest, "little")
        return value


_WORD_HASHES = _WordHashes()


@lru_cache(maxsize=2)
def _powers(count: int) -> tuple[Hashes, Hashes]:
    """The first powers of the polynomial's base, and of its inverse, modulo 2**64."""
    bases = np.full((2, count), [[_BASE], [_INVERSE]], dtype=np.uint64)
    bases[:, 0] = 1
    powers = np.cumprod(bases, axis=1, dtype=np.uint64)
    return powers[0], powers[1]
