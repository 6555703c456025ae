"""Two texts with some words in common, and of each token whether the other text has it: any text is an example."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from malmoi.data.batch import IGNORED
from malmoi.data.masking import Flags, Ids, Words, number_of
from malmoi.data.mixture import Mixture
from malmoi.data.token_labels import LabelledTokens, TokenLabelledBatch, collate_labelled_tokens
from malmoi.tokenizers.framing import Frame
from malmoi.tokenizers.tokenizer import Tokenizer

PIECES = 3
"""Texts that a row is cut into: those that tasks read in pairs are short."""

KEPT, REPLACED = 0.5, 0.5
"""Probability that a word of the first text stands in the second, and that there it is another text's word instead."""


class SharedWords:
    """Pairs of texts with words in common; a `BatchSource`.

    Entailment and similarity begin with which words two texts share, and thousands of labelled pairs do not teach a new
    encoder to look for them. Here every token has a label: 1 where the other text of the pair has the same token.

    Args:
        mixture: rows of text.
        words: tells where words begin.
    """

    def __init__(self, mixture: Mixture, tokenizer: Tokenizer, words: Words, seed: int = 0) -> None:
        self._mixture, self._words, self._seed = mixture, words, seed
        self._frame, self._end = Frame(tokenizer, pair=True), tokenizer.end

    def batch(self, step: int, slot: int) -> TokenLabelledBatch:
        """See `BatchSource.batch`."""
        return self._pairs(self._mixture.batch(step, slot).tokens.numpy(), f"{self._seed}/{step}/{slot}")

    def validation(self) -> Iterator[TokenLabelledBatch]:
        """See `BatchSource.validation`: all held-out text once, but for rests that fill no row."""
        for number, text in enumerate(self._mixture.validation()):
            whole = (text.targets != IGNORED).all(dim=1)
            if whole.any():
                yield self._pairs(text.tokens[whole].numpy(), f"{self._seed}/validation/{number}")

    def _pairs(self, rows: Ids, key: str) -> TokenLabelledBatch:
        chance = np.random.default_rng(number_of(f"{key}/pairs"))
        pairs = sharing_pairs(rows, self._words.begin(rows), self._end, chance)
        return collate_labelled_tokens([self._labelled(first, second) for first, second in pairs])

    def _labelled(self, first: Ids, second: Ids) -> LabelledTokens:
        ids, segments = map(np.array, self._frame.fill([first.tolist(), second.tolist()]))
        labels = np.full(len(ids), IGNORED)
        shared = np.concatenate([np.isin(first, second), np.isin(second, first)])
        unknown = self._words.special[np.concatenate([first, second])]  # the one special token that texts have
        labels[~self._words.special[ids]] = shared[~unknown]
        return LabelledTokens(*map(torch.from_numpy, (ids, labels, segments)))


def sharing_pairs(rows: Ids, begins: Flags, separator: int, chance: np.random.Generator) -> list[tuple[Ids, Ids]]:
    """Every row as `PIECES` texts, each with some of its words in their order, among words of another row's text,
    or of its own row's where that is alone.

    Args:
        rows: (rows, length) ids.
        begins: (rows, length), where words begin.
        separator: ends a text inside a row; it is left out.
    """
    texts = [text for row, starts in zip(rows, begins, strict=True) for text in _texts(row, starts, separator)]
    pairs = []
    for number, text in enumerate(texts):
        other = texts[(number + min(PIECES, len(texts) - 1)) % len(texts)]
        kept = [word for word in text if chance.random() < KEPT] or text
        words = [other[chance.integers(len(other))] if chance.random() < REPLACED else word for word in kept]
        first = np.concatenate(text)
        pairs.append((first, np.concatenate(words)[: len(first)]))
    return pairs


def _texts(row: Ids, begins: Flags, separator: int) -> list[list[Ids]]:
    """The words of each piece of a row; pieces of nothing but separators are left out."""
    texts = []
    for piece in np.array_split(np.arange(len(row)), PIECES):
        words = np.split(row[piece], np.flatnonzero(begins[piece][1:]) + 1)
        texts.append([word for word in words if word[0] != separator])
    return [words for words in texts if words]
