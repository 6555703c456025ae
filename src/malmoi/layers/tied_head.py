"""A head that shares the weights of the embedding."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class TiedHead(nn.Module):
    """Multiplies with the embedding's weights. It holds no parameter of its own, so nothing can untie it."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self._embedding = (embedding,)  # a tuple, so that it does not become a submodule with a second name

    @property
    def weight(self) -> torch.Tensor:
        """(vocabulary, width), the embedding's own."""
        return self._embedding[0].weight

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., width) to (..., vocabulary)."""
        return F.linear(hidden, self.weight)
