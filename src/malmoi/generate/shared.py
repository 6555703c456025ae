"""The beginning that many prompts have in common, read once for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from malmoi.generate.generator import evaluating
from malmoi.generate.prefix import common_prefix
from malmoi.layers.cache import KeyValueCache, cache_bytes
from malmoi.models.gpt import GPT

ROW_TOKENS = 1024
"""Tokens in one forward pass."""

CACHE_BYTES = 1 << 29
"""Keys and values of the rows that are computed together."""


class SharedPrefix:
    """Keys and values of what every one of some sequences begins with.

    Attributes:
        tokens: that beginning. It leaves at least one token of each sequence; it is empty where they have nothing in
            common, and where a single sequence is all there is.
    """

    def __init__(self, model: GPT, sequences: Sequence[list[int]]) -> None:
        self.model = model
        self.tokens = _beginning(sequences) if len(sequences) > 1 else []
        weight = next(model.parameters())
        self._cache = KeyValueCache(model.config, 1, len(self.tokens), weight.dtype, weight.device)
        if self.tokens:
            with torch.inference_mode(), evaluating(model):
                model(torch.tensor([self.tokens], device=weight.device), self._cache)

    def rows(self, count: int, length: int) -> KeyValueCache:
        """A cache of `count` rows with room for `length` tokens each, all of which have read the beginning."""
        return self._cache.repeat(count, length)

    def most_rows(self, length: int, total: int) -> int:
        """How many rows to compute together when each reads up to `length` new tokens and holds `total` in the end."""
        row_bytes = cache_bytes(self.model.config, total, next(self.model.parameters()).dtype)
        return max(1, min(ROW_TOKENS // length, CACHE_BYTES // row_bytes))


def _beginning(sequences: Sequence[list[int]]) -> list[int]:
    """All of the shortest but one token, as far as it is in all of them."""
    shortest = min(sequences, key=len)[:-1]
    return shortest[: min((common_prefix(shortest, sequence) for sequence in sequences), default=0)]
