"""Batches from a weighted mixture of sources. Weights count tokens; every row is a pure function of its number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np
import torch

from malmoi.core.errors import UserError
from malmoi.data.batch import IGNORED, TextBatch
from malmoi.data.order import Places, permute
from malmoi.data.shares import Share, normalized_weights
from malmoi.data.store import Tokens

BLOCK = 1_000
"""Rows after which the shares of the sources are exact."""


class Mixture:
    """Rows of `context` tokens drawn from several sources; a `BatchSource`.

    In each epoch of a source every window of it comes once, in a new order and from a new offset.

    Args:
        train: source -> (tokens,) ids.
        held_out: source -> (tokens,) ids of text that is never trained on.
        weights: source -> share of the training tokens; sources that are not named get none; all, by size, if empty.
        context: length of a row.
        rows: rows in a micro-batch.
        slots: micro-batches in a step.

    Raises:
        UserError: a weight names no source, or the text is too small for the context.
    """

    def __init__(
        self,
        train: Mapping[str, Tokens],
        held_out: Mapping[str, Tokens],
        weights: Mapping[str, float],
        context: int,
        rows: int,
        slots: int = 1,
        seed: int = 0,
    ) -> None:
        self.weights = normalized_weights(weights, {name: len(tokens) for name, tokens in train.items()})
        self._train = {name: train[name] for name in self.weights}
        for name, tokens in self._train.items():
            if len(tokens) < 2 * context:
                raise UserError(
                    f"The source {name!r} has {len(tokens):,} tokens, too few for a context of {context:,}.",
                    f"Set context={max(8, len(tokens) // 4)} or less, add text, or leave it out of the mixture.",
                )
        self._held_out, self._context, self._rows, self._slots, self._seed = held_out, context, rows, slots, seed
        self._names = list(self._train)
        self._quotas = _quotas(self.weights)
        self._assignment = lru_cache(maxsize=4)(self._assign_block)

    def batch(self, step: int, slot: int) -> TextBatch:
        """See `BatchSource.batch`."""
        first = (step * self._slots + slot) * self._rows
        places = [self._place(number) for number in range(first, first + self._rows)]
        rows = torch.empty(self._rows, self._context + 1, dtype=torch.int64)
        for name, epoch in dict.fromkeys((name, epoch) for name, epoch, _ in places):
            mine = [row for row, place in enumerate(places) if place[:2] == (name, epoch)]
            starts = self._starts(name, epoch, np.array([places[row][2] for row in mine], dtype=np.uint64))
            for row, start in zip(mine, starts.tolist(), strict=True):
                window = self._train[name][start : start + self._context + 1]
                rows[row] = torch.from_numpy(window.astype(np.int64))
        return TextBatch(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())

    def validation(self) -> Iterator[TextBatch]:
        """See `BatchSource.validation`: all held-out text once, end to end."""
        for tokens in self._held_out.values():
            for start in range(0, len(tokens) - 1, self._context * self._rows):
                part = tokens[start : start + self._context * self._rows + 1].astype(np.int64)
                yield _packed(torch.from_numpy(part), self._context)

    def shares(self, steps: int) -> dict[str, Share]:
        """What `steps` steps take of each source."""
        rows = steps * self._slots * self._rows
        blocks, rest = divmod(rows, BLOCK)
        partial = self._assignment(blocks)[0][:rest]
        taken = {
            name: blocks * self._quotas[name] + int((partial == index).sum()) for index, name in enumerate(self._train)
        }
        return {
            name: Share(self.weights[name], count / max(1, rows), count / self._windows(name))
            for name, count in taken.items()
        }

    def _place(self, number: int) -> tuple[str, int, int]:
        """The source of a row, the epoch of that source, and which of the epoch's windows it is."""
        block, place = divmod(number, BLOCK)
        sources, ranks = self._assignment(block)
        name = self._names[sources[place]]
        epoch, window = divmod(block * self._quotas[name] + int(ranks[place]), self._windows(name))
        return name, epoch, window

    def _starts(self, name: str, epoch: int, windows: Places) -> Places:
        """Where the windows of an epoch begin in their source's tokens."""
        key = f"{self._seed}/{name}/{epoch}"
        offset = permute(np.zeros(1, dtype=np.uint64), self._context, f"{key}/offset")
        return offset + np.uint64(self._context) * permute(windows, self._windows(name), key)

    def _windows(self, name: str) -> int:
        """Windows in an epoch, so many that the last one ends inside the tokens whatever the offset."""
        return len(self._train[name]) // self._context - 1

    def _assign_block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """For each row of a block the index of its source, and how many rows of that source come before it."""
        sorted_sources = np.repeat(np.arange(len(self._train)), list(self._quotas.values()))
        order = permute(np.arange(BLOCK, dtype=np.uint64), BLOCK, f"{self._seed}/block/{block}")
        sources = sorted_sources[order.astype(np.int64)]
        ranks = np.zeros(BLOCK, dtype=np.int64)
        for index in range(len(self._train)):
            ranks[sources == index] = np.arange((sources == index).sum())
        return sources, ranks


def _packed(tokens: torch.Tensor, context: int) -> TextBatch:
    """(n + 1,) consecutive tokens as rows of `context` inputs and targets; the last row is padded."""
    rows = -(-(len(tokens) - 1) // context)
    inputs = torch.zeros(rows * context, dtype=torch.int64)
    targets = torch.full((rows * context,), IGNORED)
    inputs[: len(tokens) - 1], targets[: len(tokens) - 1] = tokens[:-1], tokens[1:]
    return TextBatch(inputs.view(rows, context), targets.view(rows, context))


def _quotas(weights: Mapping[str, float]) -> dict[str, int]:
    """Rows of each source in a block: rounded down, the rest to the largest remainders."""
    quotas = {name: int(weight * BLOCK) for name, weight in weights.items()}
    remainders = sorted(weights, key=lambda name: quotas[name] - weights[name] * BLOCK)
    for name in remainders[: BLOCK - sum(quotas.values())]:
        quotas[name] += 1
    return quotas
