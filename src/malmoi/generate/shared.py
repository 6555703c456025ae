"""The beginning that many prompts have in common, read once for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from malmoi.core.accelerator import device_of
from malmoi.generate.generator import evaluating
from malmoi.generate.prefix import common_prefix
from malmoi.layers.cache import Cache
from malmoi.models.language_model import LanguageModel

ROW_TOKENS = 1024
"""Tokens in one forward pass."""

CACHE_BYTES = 1 << 29
"""What is kept of the rows that are computed together."""


class SharedPrefix:
    """What a model keeps of the beginning that some sequences have in common.

    Attributes:
        tokens: that beginning. It leaves at least one token of each sequence; it is empty where they have nothing in
            common, and where a single sequence is all there is.
    """

    def __init__(self, model: LanguageModel, sequences: Sequence[list[int]]) -> None:
        self.model = model
        self.tokens = _beginning(sequences) if len(sequences) > 1 else []
        self._cache = model.cache(1, len(self.tokens))
        if self.tokens:
            with torch.inference_mode(), evaluating(model):
                model(torch.tensor([self.tokens], device=device_of(model)), self._cache)

    def rows(self, count: int, length: int) -> Cache:
        """A cache of `count` rows with room for `length` tokens each, all of which have read the beginning."""
        return self._cache.repeat(count, length)

    def most_rows(self, length: int, total: int) -> int:
        """How many rows to compute together when each reads up to `length` new tokens and holds `total` in the end."""
        return max(1, min(ROW_TOKENS // length, CACHE_BYTES // self.model.cache(1, total).bytes))


def _beginning(sequences: Sequence[list[int]]) -> list[int]:
    """All of the shortest but one token, as far as it is in all of them."""
    shortest = min(sequences, key=len)[:-1]
    return shortest[: min((common_prefix(shortest, sequence) for sequence in sequences), default=0)]
