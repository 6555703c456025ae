"""Batches from a weighted mixture of sources. Weights count tokens; every row is a pure function of its number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np

from malmoi.core.config import key_of
from malmoi.core.errors import UserError
from malmoi.data.batch import TextBatch
from malmoi.data.cuts import CUTS, Row, stacked
from malmoi.data.order import permute
from malmoi.data.shares import Share, normalized_weights
from malmoi.data.store import Tokens, TokenSequence

BLOCK = 1_000
"""Rows after which the shares of the sources are exact."""


class Mixture:
    """Rows of `context` tokens drawn from several sources; a `BatchSource`.

    In each epoch of a source every row of it comes once, in a new order.

    Args:
        train: source -> (tokens,) ids.
        held_out: source -> (tokens,) ids of text that is never trained on.
        weights: source -> share of the training tokens; sources that are not named get none; all, by size, if empty.
        context: length of a row.
        rows: rows in a micro-batch.
        slots: micro-batches in a step.
        row: what a row is; see `malmoi.data.cuts`. Weights count rows.

    Raises:
        UserError: a weight names no source, or the text is too small for the context.
    """

    def __init__(
        self,
        train: Mapping[str, TokenSequence],
        held_out: Mapping[str, TokenSequence],
        weights: Mapping[str, float],
        context: int,
        rows: int,
        slots: int = 1,
        seed: int = 0,
        row: Row = "window",
    ) -> None:
        self.weights = normalized_weights(weights, {name: len(tokens) for name, tokens in train.items()})
        self._train = {name: CUTS[row](train[name], context, f"{seed}/{name}") for name in self.weights}
        for name, one in self._train.items():
            if one.count < 1:
                raise UserError(
                    f"The source {name!r} has {len(train[name]):,} tokens, too few for a context of {context:,}.",
                    f"Set {key_of('context')}={max(8, len(train[name]) // 4)} or less, add text, or leave it out of "
                    "the mixture.",
                )
        self._held_out = [CUTS[row](tokens, context, "") for tokens in held_out.values()]
        self._context, self._rows, self._slots, self._seed = context, rows, slots, seed
        self._names = list(self._train)
        self._quotas = _quotas(self.weights)
        self._assignment = lru_cache(maxsize=4)(self._assign_block)

    def batch(self, step: int, slot: int) -> TextBatch:
        """See `BatchSource.batch`."""
        first = (step * self._slots + slot) * self._rows
        places = [self._place(number) for number in range(first, first + self._rows)]
        rows: list[Tokens] = [np.empty(0, dtype=np.uint16)] * self._rows
        for name, epoch in dict.fromkeys((name, epoch) for name, epoch, _ in places):
            mine = [row for row, place in enumerate(places) if place[:2] == (name, epoch)]
            cut = self._train[name].rows(epoch, np.array([places[row][2] for row in mine], dtype=np.uint64))
            for row, tokens in zip(mine, cut, strict=True):
                rows[row] = tokens
        return stacked(rows, self._context)

    def validation(self) -> Iterator[TextBatch]:
        """See `BatchSource.validation`: all held-out text once."""
        for cut in self._held_out:
            yield from cut.in_order(self._rows)

    def shares(self, steps: int) -> dict[str, Share]:
        """What `steps` steps take of each source."""
        rows = steps * self._slots * self._rows
        blocks, rest = divmod(rows, BLOCK)
        partial = self._assignment(blocks)[0][:rest]
        taken = {
            name: blocks * self._quotas[name] + int((partial == index).sum()) for index, name in enumerate(self._train)
        }
        return {
            name: Share(self.weights[name], count / max(1, rows), count / self._train[name].count)
            for name, count in taken.items()
        }

    def _place(self, number: int) -> tuple[str, int, int]:
        """The source of a row, the epoch of that source, and which of the epoch's rows it is."""
        block, place = divmod(number, BLOCK)
        sources, ranks = self._assignment(block)
        name = self._names[sources[place]]
        epoch, place = divmod(block * self._quotas[name] + int(ranks[place]), self._train[name].count)
        return name, epoch, place

    def _assign_block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """For each row of a block the index of its source, and how many rows of that source come before it."""
        sorted_sources = np.repeat(np.arange(len(self._train)), list(self._quotas.values()))
        order = permute(np.arange(BLOCK, dtype=np.uint64), BLOCK, f"{self._seed}/block/{block}")
        sources = sorted_sources[order.astype(np.int64)]
        ranks = np.zeros(BLOCK, dtype=np.int64)
        for index in range(len(self._train)):
            ranks[sources == index] = np.arange((sources == index).sum())
        return sources, ranks


def _quotas(weights: Mapping[str, float]) -> dict[str, int]:
    """Rows of each source in a block: rounded down, the rest to the largest remainders."""
    quotas = {name: int(weight * BLOCK) for name, weight in weights.items()}
    remainders = sorted(weights, key=lambda name: quotas[name] - weights[name] * BLOCK)
    for name in remainders[: BLOCK - sum(quotas.values())]:
        quotas[name] += 1
    return quotas
