"""A hashed table of token pairs: what a bigram model knows, given to the first layer."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

_ODD, _OTHER_ODD = 2_654_435_761, 2_246_822_519
"""Multipliers of multiplicative hashing; with ids below 2**31 the products stay below 2**63."""


class BigramTable(nn.Module):
    """An embedding of (previous token, token), added to the token's own; zero at first.

    The pairs are hashed into `buckets` rows, as in the hashed n-gram embeddings of Joulin and others 2016
    (fastText, arXiv:1607.01759). With at least vocabulary * (vocabulary + 1) rows no two pairs share one.
    """

    def __init__(self, vocabulary: int, buckets: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(buckets, width))
        self.vocabulary = vocabulary

    def forward(self, tokens: torch.Tensor, before: torch.Tensor | None = None) -> torch.Tensor:
        """(rows, length) int64 to (rows, length, width).

        Args:
            before: (rows, 1) the token before the first one; None at the beginning of a text.
        """
        if before is None:
            before = torch.full_like(tokens[:, :1], self.vocabulary)
        previous = torch.cat([before, tokens[:, :-1]], dim=1)
        return F.embedding(self.rows(previous, tokens), self.weight)

    def rows(self, previous: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Which row of the table each pair has."""
        buckets = len(self.weight)
        if buckets >= self.vocabulary * (self.vocabulary + 1):
            return previous * self.vocabulary + tokens
        return ((previous * _ODD) ^ (tokens * _OTHER_ODD)) % buckets
