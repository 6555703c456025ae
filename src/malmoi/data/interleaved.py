"""Batches of one kind between batches of another, for objectives that want different ones."""

from __future__ import annotations

from collections.abc import Iterator

from malmoi.data.batch import Batch, BatchSource

EVERY = 4
"""Of so many batches the last is of the other kind."""


class Interleaved:
    """Three batches of one source, then one of another; a `BatchSource`."""

    def __init__(self, one: BatchSource, other: BatchSource) -> None:
        self._one, self._other = one, other

    def batch(self, step: int, slot: int) -> Batch:
        """See `BatchSource.batch`."""
        source = self._other if (step + slot) % EVERY == EVERY - 1 else self._one
        return source.batch(step, slot)

    def validation(self) -> Iterator[Batch]:
        """See `BatchSource.validation`: the held-out batches of both."""
        yield from self._one.validation()
        yield from self._other.validation()
