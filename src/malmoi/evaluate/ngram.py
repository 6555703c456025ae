"""n-gram models over token ids or bytes: the controls that a trained model has to beat.

Jelinek-Mercer interpolation with one weight for every class of context counts, tuned by expectation maximisation on
a tenth of the training text (Jelinek and Mercer 1980; Chen and Goodman 1998, "An empirical study of smoothing
techniques for language modeling").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Integers: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

BLOCK = 1_024
"""Every tenth block of this many tokens tunes the weights; the others are counted while tuning."""


@dataclass(frozen=True)
class _Counts:
    """How often each sequence and each of its contexts was seen, as sorted keys beside their counts."""

    sequences: Integers
    sequence_counts: Integers
    contexts: Integers
    context_counts: Integers

    @classmethod
    def of(cls, keys: Integers, vocabulary: int) -> _Counts:
        sequences, sequence_counts = np.unique(keys, return_counts=True)
        contexts, first = np.unique(sequences // vocabulary, return_index=True)
        context_counts = np.add.reduceat(sequence_counts, first) if len(first) else sequence_counts
        return cls(sequences, sequence_counts, contexts, context_counts)


def _lookup(keys: Integers, table: Integers, counts: Integers) -> Integers:
    """The count of each key, 0 where the sorted table does not have it."""
    if not len(table):
        return np.zeros(len(keys), dtype=np.int64)
    place = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    found: Integers = np.where(table[place] == keys, counts[place], 0)
    return found


class NGram:
    """An interpolated n-gram model; order 0 is uniform, 1 the unigram, 2 the bigram.

    Args:
        documents: (tokens,) integer arrays, the training text; every document is preceded by `start`.
        vocabulary: number of ids, `start` included.
        order: longest sequence counted.
        start: the id that stands before a document; never scored.

    Raises:
        ValueError: a sequence of `order` ids does not fit into 63 bits.
    """

    def __init__(self, documents: Sequence[Integers], vocabulary: int, order: int, start: int) -> None:
        if order * np.log2(vocabulary) >= 63:
            raise ValueError(f"order {order} with {vocabulary} ids does not fit into 63 bits")
        self.vocabulary, self.order, self.start = vocabulary, order, start
        keys = self._keys(documents)
        positions = np.arange(len(keys[0]) if keys else 0)
        tuning = positions // BLOCK % 10 == 9
        if not tuning.any():
            tuning = positions >= len(positions) * 9 // 10
        self.weights = self._tune(keys, tuning)
        self._counts = [_Counts.of(key, vocabulary) for key in keys]

    def document_nats(self, documents: Sequence[Integers]) -> list[float]:
        """Negative log-likelihood of each document in nats."""
        size = sum(len(document) for document in documents)
        probability = np.full(size, 1 / self.vocabulary)
        for key, counts, weights in zip(self._keys(documents), self._counts, self.weights, strict=True):
            relative, bucket = self._relative(key, counts)
            probability = weights[bucket] * relative + (1 - weights[bucket]) * probability
        nats = np.concatenate([np.zeros(1), np.cumsum(-np.log(probability))])
        ends = np.cumsum([0] + [len(document) for document in documents])
        return [float(cost) for cost in np.diff(nats[ends])]

    def _keys(self, documents: Sequence[Integers]) -> list[Integers]:
        """For each order 1, 2, ... one number for every token that stands for it and its context."""
        lead = max(0, self.order - 1)
        flat = np.full(sum(lead + len(document) for document in documents), self.start, dtype=np.int64)
        scored = np.zeros(len(flat), dtype=np.bool_)
        position = 0
        for document in documents:
            text = slice(position + lead, position + lead + len(document))
            flat[text], scored[text] = document, True
            position = text.stop
        places = np.flatnonzero(scored)
        keys, key = [], np.zeros(len(places), dtype=np.int64)
        for order in range(self.order):
            key = key + flat[places - order] * self.vocabulary**order
            keys.append(key)
        return keys

    def _relative(self, keys: Integers, counts: _Counts) -> tuple[Floats, Integers]:
        """Relative frequency of each token after its context, and the class of the context's count (0: unseen)."""
        context = _lookup(keys // self.vocabulary, counts.contexts, counts.context_counts)
        sequence = _lookup(keys, counts.sequences, counts.sequence_counts)
        bucket: Integers = np.where(context > 0, 1 + np.log2(np.maximum(context, 1)).astype(np.int64), 0)
        return sequence / np.maximum(context, 1), bucket

    def _tune(self, keys: list[Integers], tuning: Flags) -> list[Floats]:
        """Weights (64,) of each order for each class of context counts, from the shortest order up.

        A class that the tuning text does not show has the weight of the next lower one that it does.
        """
        probability = np.full(int(tuning.sum()), 1 / self.vocabulary)
        all_weights = []
        for key in keys:
            relative, bucket = self._relative(key[tuning], _Counts.of(key[~tuning], self.vocabulary))
            weights = np.full(64, 0.5)
            seen = np.bincount(bucket, minlength=64)
            for _ in range(30):
                share = weights[bucket] * relative
                share = share / (share + (1 - weights[bucket]) * probability)
                weights = (np.bincount(bucket, share, minlength=64) + 0.5) / (seen + 1)
            weights[0] = 0
            weights = weights[np.maximum.accumulate(np.where(seen > 0, np.arange(64), 0))]
            probability = weights[bucket] * relative + (1 - weights[bucket]) * probability
            all_weights.append(weights)
        return all_weights
