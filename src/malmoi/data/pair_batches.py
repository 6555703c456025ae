"""Batches of pairs with a budget of tokens; the order is a pure function of (seed, step, slot)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from malmoi.data.batch import IGNORED, TargetBatch
from malmoi.data.order import permute


@dataclass(frozen=True)
class EncodedPair:
    """Ids of a text and of its translation, each with the id that ends a text."""

    source: list[int]
    target: list[int]

    @property
    def lengths(self) -> tuple[int, int]:
        """Tokens of the target and of the source."""
        return len(self.target), len(self.source)


@dataclass(frozen=True)
class PairBatch(TargetBatch):
    """Texts with their translations.

    Attributes:
        source: (rows, length) int64, padded on the right.
        source_lengths: (rows,) int64, the number of real tokens of each, at least 1.
        inputs: (rows, target length) int64, what the decoder reads: the targets one place later, behind its start.
        targets: (rows, target length) int64, what it should write; IGNORED where a row is padded.
    """

    source: torch.Tensor
    source_lengths: torch.Tensor
    inputs: torch.Tensor
    targets: torch.Tensor


def collate_pairs(pairs: Sequence[EncodedPair], start: int) -> PairBatch:
    """A batch; `start` is what a decoder begins with, and what fills rows up."""
    sources = [torch.tensor(pair.source) for pair in pairs]
    targets = [torch.tensor(pair.target) for pair in pairs]
    inputs = [torch.tensor([start, *pair.target[:-1]]) for pair in pairs]
    return PairBatch(
        pad_sequence(sources, batch_first=True, padding_value=start),
        torch.tensor([len(source) for source in sources]),
        pad_sequence(inputs, batch_first=True, padding_value=start),
        pad_sequence(targets, batch_first=True, padding_value=IGNORED),
    )


class PairBatches:
    """A `BatchSource` over pairs; every epoch has each pair once, in a new order.

    All pairs are sorted by their lengths and cut into batches of as many as the budget holds, so that there is hardly
    any padding. Which of the pairs of equal lengths stand together, and in which order the batches come, is another in
    every epoch; how many batches there are is the same.

    Args:
        train: pairs to learn from.
        held_out: pairs for validation.
        start: see `collate_pairs`.
        tokens: of sources and targets together in a micro-batch, padding included; a longer pair stands alone.
        slots: micro-batches in a step.
    """

    def __init__(
        self,
        train: Sequence[EncodedPair],
        held_out: Sequence[EncodedPair],
        start: int,
        tokens: int,
        slots: int = 1,
        seed: int = 0,
    ) -> None:
        self._train, self._held_out, self._start = train, held_out, start
        self._tokens, self._slots, self._seed = tokens, slots, seed
        self._cuts = _cuts(sorted(pair.lengths for pair in train), tokens)
        self._epoch = lru_cache(maxsize=2)(self._order)

    @property
    def batches(self) -> int:
        """Micro-batches in an epoch."""
        return len(self._cuts) - 1

    def steps(self, epochs: float) -> int:
        """Optimizer steps in so many epochs, at least one."""
        return max(1, round(epochs * self.batches / self._slots))

    def batch(self, step: int, slot: int) -> PairBatch:
        """See `BatchSource.batch`."""
        epoch, place = divmod(step * self._slots + slot, self.batches)
        return self._collate(self._train, self._epoch(epoch)[place])

    def validation(self) -> Iterator[PairBatch]:
        """See `BatchSource.validation`."""
        order = sorted(range(len(self._held_out)), key=lambda index: self._held_out[index].lengths)
        cuts = _cuts([self._held_out[index].lengths for index in order], self._tokens)
        for first, end in itertools.pairwise(cuts):
            yield self._collate(self._held_out, order[first:end])

    def _collate(self, pairs: Sequence[EncodedPair], chosen: Sequence[int]) -> PairBatch:
        return collate_pairs([pairs[index] for index in chosen], self._start)

    def _order(self, epoch: int) -> list[list[int]]:
        """The batches of one epoch. Cuts depend on the sorted lengths alone, so that they are those of every epoch."""
        key = f"{self._seed}/pairs/{epoch}"
        shuffled = permute(np.arange(len(self._train), dtype=np.uint64), len(self._train), key).astype(int).tolist()
        near = sorted(shuffled, key=lambda index: self._train[index].lengths)
        batches = [near[first:end] for first, end in itertools.pairwise(self._cuts)]
        places = permute(np.arange(len(batches), dtype=np.uint64), len(batches), f"{key}/batches")
        return [batches[place] for place in places.astype(int)]


def _cuts(lengths: Sequence[tuple[int, int]], tokens: int) -> list[int]:
    """Where batches begin among pairs of these lengths, and where the last one ends."""
    cuts, longest = [0], (0, 0)
    for place, (target, source) in enumerate(lengths):
        longest = (max(longest[0], target), max(longest[1], source))
        if place > cuts[-1] and (place + 1 - cuts[-1]) * sum(longest) > tokens:
            cuts.append(place)
            longest = (target, source)
    return [*cuts, len(lengths)] if lengths else [0]
