"""Hiding words, to be guessed; which ones is a pure function of a key."""

from __future__ import annotations

import hashlib
import unicodedata
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from malmoi.core.errors import UserError
from malmoi.data.batch import IGNORED
from malmoi.tokenizers.tokenizer import Tokenizer

HIDDEN, REPLACED = 0.8, 0.1
"""Shares of the tokens to be guessed that become the mask, and another token; the rest stay as they are."""

Ids = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Masked(NamedTuple):
    """Rows with hidden words.

    Attributes:
        tokens: (rows, length) int64, what the model sees.
        targets: (rows, length) int64, what stood at the places to be guessed; IGNORED elsewhere.
    """

    tokens: Ids
    targets: Ids


class Words:
    """Tells from token ids where words begin: at a space, and between letters and punctuation.

    A word of several tokens is hidden as a whole, so that its parts do not give it away (as in the whole-word variants
    of BERT, github.com/google-research/bert, 2019). In Korean it is the eojeol, a stem with its particles. A token that
    holds only a part of a character counts as letters, and one of nothing but blanks belongs to what follows.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        spelled = [tokenizer.token_bytes(id).decode("utf-8", errors="replace") for id in range(tokenizer.size)]
        self.special = np.zeros(tokenizer.size, bool)
        self.special[list(tokenizer.special.values())] = True
        self._spaced = self.special | np.array([text[:1].isspace() for text in spelled])
        self._first = np.array([_letter(text.lstrip()[:1]) for text in spelled])
        self._blank = np.array([text.isspace() for text in spelled])
        self._last = np.array([_letter(text[-1:]) for text in spelled])

    def begin(self, tokens: Ids) -> Flags:
        """(rows, length) ids to whether a word begins there; every row begins with one, and specials stand alone."""
        begins: Flags = self._spaced[tokens]
        begins[:, 0] = True
        before, here = tokens[:, :-1], tokens[:, 1:]
        changes = (self._last[before] != self._first[here]) & ~self._blank[before]
        begins[:, 1:] |= changes | self.special[before]
        return begins


class Masker:
    """Hides words of text.

    Args:
        share: probability with which each word is to be guessed.

    Attributes:
        words: tells where they begin.
        mask: id of the token that hides another.

    Raises:
        UserError: the vocabulary has no mask.
    """

    def __init__(self, tokenizer: Tokenizer, share: float = 0.15) -> None:
        if tokenizer.mask is None:
            raise UserError(
                "The tokenizer has no token that hides a word.",
                "Train one with frame=bert, or take that of an encoder, which has a mask.",
            )
        self.words, self.mask, self._share = Words(tokenizer), tokenizer.mask, share
        self._ordinary = np.flatnonzero(~self.words.special)

    def hide(self, tokens: Ids, key: str) -> Masked:
        """(rows, length) int64 ids to what is seen and what is to be guessed; special tokens stay as they are."""
        chance = np.random.default_rng(number_of(key))
        words = self.words.begin(tokens).ravel().cumsum().reshape(tokens.shape) - 1
        chosen = (chance.random(words[-1, -1] + 1) < self._share)[words] & ~self.words.special[tokens]
        what = chance.random(tokens.shape)
        others = chance.choice(self._ordinary, tokens.shape)
        seen = np.where(chosen & (what < HIDDEN), self.mask, tokens)
        seen = np.where(chosen & (what >= 1 - REPLACED), others, seen)
        return Masked(seen, np.where(chosen, tokens, IGNORED))


def number_of(key: str) -> int:
    """A seed for random numbers that are a pure function of what they are for."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")


def _letter(character: str) -> bool:
    """Whether a character belongs to a word; a part of one (U+FFFD) does."""
    return character == "\ufffd" or unicodedata.category(character or " ")[0] in "LMN"
