"""How the tokens of a source are cut into rows: into windows end to end, or one document a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, Protocol

import numpy as np
import torch

from malmoi.data.batch import IGNORED, TextBatch
from malmoi.data.order import Places, permute
from malmoi.data.store import Tokens, TokenSequence

Row = Literal["window", "document"]


class Cut(Protocol):
    """The rows that one source is cut into, each once an epoch.

    Attributes:
        count: rows in an epoch.
    """

    count: int

    def rows(self, epoch: int, places: Places) -> Iterator[Tokens]:
        """Up to `context` + 1 tokens each, of the rows that stand at `places` in the order of an epoch."""
        ...

    def in_order(self, rows: int) -> Iterator[TextBatch]:
        """All tokens once, from the first to the last, in batches of `rows`."""
        ...


class Windows:
    """Windows of `context` tokens, wherever documents end; each epoch begins at another offset.

    Args:
        tokens: (n,) ids.
        context: tokens in a row.
        key: of the order.
    """

    def __init__(self, tokens: TokenSequence, context: int, key: str) -> None:
        self._tokens, self._context, self._key = tokens, context, key
        self.count = len(tokens) // context - 1  # so many that the last one ends inside the tokens, whatever the offset

    def rows(self, epoch: int, places: Places) -> Iterator[Tokens]:
        """See `Cut.rows`."""
        key = f"{self._key}/{epoch}"
        offset = permute(np.zeros(1, dtype=np.uint64), self._context, f"{key}/offset")
        starts = offset + np.uint64(self._context) * permute(places, self.count, key)
        yield from (self._tokens[start : start + self._context + 1] for start in starts.tolist())

    def in_order(self, rows: int) -> Iterator[TextBatch]:
        """See `Cut.in_order`."""
        for start in range(0, len(self._tokens) - 1, self._context * rows):
            part = self._tokens[start : start + self._context * rows + 1].astype(np.int64)
            yield _packed(torch.from_numpy(part), self._context)


class Documents:
    """A document a row, behind the token that ends the one before it; what is longer than the context is cut.

    Takes what `Windows` takes; every document is followed by the same token, see `build_token_store`.
    """

    def __init__(self, tokens: TokenSequence, context: int, key: str) -> None:
        self._tokens, self._context, self._key = np.asarray(tokens), context, key
        self._ends = np.flatnonzero(self._tokens == self._tokens[-1]) if len(tokens) else np.empty(0, dtype=np.int64)
        self.count = len(self._ends)

    def rows(self, epoch: int, places: Places) -> Iterator[Tokens]:
        """See `Cut.rows`."""
        yield from map(self._row, permute(places, self.count, f"{self._key}/{epoch}").tolist())

    def in_order(self, rows: int) -> Iterator[TextBatch]:
        """See `Cut.in_order`."""
        for first in range(0, self.count, rows):
            yield stacked([self._row(number) for number in range(first, min(first + rows, self.count))], self._context)

    def _row(self, number: int) -> Tokens:
        start = int(self._ends[number - 1]) + 1 if number else 0
        document = self._tokens[start : int(self._ends[number]) + 1]
        return np.concatenate([self._tokens[-1:], document])[: self._context + 1]


CUTS: dict[Row, Callable[[TokenSequence, int, str], Cut]] = {"window": Windows, "document": Documents}
"""What a row is -> how tokens are cut; takes what `Windows` takes."""


def stacked(rows: list[Tokens], context: int) -> TextBatch:
    """Rows of 2 to `context` + 1 tokens, each of which is the target of those before it; padded on the right."""
    inputs = torch.zeros(len(rows), context, dtype=torch.int64)
    targets = torch.full((len(rows), context), IGNORED)
    for number, row in enumerate(rows):
        tokens = torch.from_numpy(row.astype(np.int64))
        inputs[number, : len(row) - 1], targets[number, : len(row) - 1] = tokens[:-1], tokens[1:]
    return TextBatch(inputs, targets)


def _packed(tokens: torch.Tensor, context: int) -> TextBatch:
    """(n + 1,) consecutive tokens as rows of `context` inputs and targets; the last row is padded."""
    rows = -(-(len(tokens) - 1) // context)
    inputs = torch.zeros(rows * context, dtype=torch.int64)
    targets = torch.full((rows * context,), IGNORED)
    inputs[: len(tokens) - 1], targets[: len(tokens) - 1] = tokens[:-1], tokens[1:]
    return TextBatch(inputs.view(rows, context), targets.view(rows, context))
