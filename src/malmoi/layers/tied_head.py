"""A head that shares the weights of the embedding."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import nn
from torch.nn import functional as F


@runtime_checkable
class SharesMatrix(Protocol):
    """An embedding that knows how to multiply with its own matrix."""

    def scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., width) to (..., vocabulary)."""
        ...


class TiedHead(nn.Module):
    """Multiplies with the embedding's weights. It holds no parameter of its own, so nothing can untie it."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.tie(embedding)

    def tie(self, embedding: nn.Module) -> None:
        """Share the weights of `embedding` from now on."""
        self._embedding = (embedding,)  # a tuple, so that it does not become a submodule with a second name

    @property
    def embedding(self) -> nn.Module:
        """The one whose weights it shares."""
        return self._embedding[0]

    @property
    def weight(self) -> torch.Tensor:
        """(vocabulary, width), the embedding's own."""
        weight = self.embedding.weight
        assert isinstance(weight, torch.Tensor)
        return weight

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., width) to (..., vocabulary)."""
        embedding = self.embedding
        return embedding.scores(hidden) if isinstance(embedding, SharesMatrix) else F.linear(hidden, self.weight)
