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

    Batches are whole: what fills none at the end of an epoch is filled up with the first examples of the next one.

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
        self._epoch = lru_cache(maxsize=2)(self._order)

    def batch(self, step: int, slot: int) -> Batch:
        """See `BatchSource.batch`."""
        number = step * self._slots + slot
        epoch = number * self._rows // len(self._train)
        before = -(-epoch * len(self._train) // self._rows)
        chosen = self._epoch(epoch)[number - before]
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
        return max(1, round(epochs * len(self._train) / (self._rows * self._slots)))

    def _order(self, epoch: int) -> list[list[int]]:
        """The batches that begin in an epoch, without those of its rows that the epoch before took."""
        shuffled = self._shuffled(epoch)[-epoch * len(self._train) % self._rows :]
        whole = len(shuffled) // self._rows * self._rows
        group = NEIGHBOURS * self._rows
        batches = []
        for start in range(0, whole, group):
            near = sorted(
                shuffled[start : min(start + group, whole)], key=lambda index: self._length(self._train[index])
            )
            batches += [near[first : first + self._rows] for first in range(0, len(near), self._rows)]
        places = permute(np.arange(len(batches), dtype=np.uint64), len(batches), f"{self._key(epoch)}/batches")
        batches = [batches[place] for place in places.astype(int)]
        if rest := shuffled[whole:]:
            batches.append(rest + self._shuffled(epoch + 1)[: self._rows - len(rest)])
        return batches

    def _shuffled(self, epoch: int) -> list[int]:
        size = len(self._train)
        shuffled: list[int] = permute(np.arange(size, dtype=np.uint64), size, self._key(epoch)).astype(int).tolist()
        return shuffled

    def _key(self, epoch: int) -> str:
        return f"{self._seed}/rows/{epoch}"
