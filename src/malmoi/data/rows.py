"""Batches of rows of unequal length, with little padding; the order is a pure function of (seed, step, slot)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np

from malmoi.data.batch import Batch
from malmoi.data.order import permute

RowType = TypeVar("RowType")

NEIGHBOURS = 16
"""Batches among which rows are sorted by length: enough to save padding, few enough to stay shuffled."""


class Rows(Generic[RowType]):
    """A `BatchSource` over examples; every epoch has each example once, in a new order.

    Args:
        train: examples to learn from.
        held_out: examples for validation.
        length: tokens of an example.
        collate: makes a batch of some examples.
        rows: examples in a micro-batch.
        slots: micro-batches in a step.
    """

    def __init__(
        self,
        train: Sequence[RowType],
        held_out: Sequence[RowType],
        length: Callable[[RowType], int],
        collate: Callable[[Sequence[RowType]], Batch],
        rows: int,
        slots: int = 1,
        seed: int = 0,
    ) -> None:
        self._train, self._held_out, self._length, self._collate = train, held_out, length, collate
        self._rows, self._slots, self._seed = min(rows, max(1, len(train))), slots, seed
        self.batches = max(1, len(train) // self._rows)
        self._epoch = lru_cache(maxsize=2)(self._order)

    def batch(self, step: int, slot: int) -> Batch:
        """See `BatchSource.batch`."""
        epoch, place = divmod(step * self._slots + slot, self.batches)
        chosen = self._epoch(epoch)[place]
        return self._collate([self._train[index] for index in chosen])

    def validation(self) -> Iterator[Batch]:
        """See `BatchSource.validation`."""
        for chosen in self.held_out_order():
            yield self._collate([self._held_out[index] for index in chosen])

    def held_out_order(self) -> list[list[int]]:
        """Which held-out examples each validation batch has: all of them, sorted by length."""
        order = sorted(range(len(self._held_out)), key=lambda index: self._length(self._held_out[index]))
        return [order[start : start + self._rows] for start in range(0, len(order), self._rows)]

    def steps(self, epochs: float) -> int:
        """Optimizer steps in so many epochs, at least one."""
        return max(1, round(epochs * self.batches / self._slots))

    def _order(self, epoch: int) -> list[list[int]]:
        """The batches of one epoch. Rows that fill no whole batch wait for the next epoch, where others do."""
        size, key = len(self._train), f"{self._seed}/rows/{epoch}"
        shuffled = permute(np.arange(size, dtype=np.uint64), size, key).astype(int).tolist()
        shuffled = shuffled[: self.batches * self._rows]
        group = NEIGHBOURS * self._rows
        batches = []
        for start in range(0, len(shuffled), group):
            near = sorted(shuffled[start : start + group], key=lambda index: self._length(self._train[index]))
            batches += [near[first : first + self._rows] for first in range(0, len(near), self._rows)]
        places = permute(np.arange(len(batches), dtype=np.uint64), len(batches), f"{key}/batches")
        return [batches[place] for place in places.astype(int)]
