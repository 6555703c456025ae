"""A peer of `train_step.py`: GPT-2 as textbooks write it, every part by hand and in its plainest form.

A norm and a GELU of single operations, heads cut from three projections, a mask that is filled in and a softmax: what
one writes to understand a model, and what fused kernels then replace. Nothing of malmoi is in it.
"""

from __future__ import annotations

import math

import torch
from torch import nn


class Norm(nn.Module):
    """LayerNorm by its formula (Ba and others 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., width) to the same."""
        mean, variance = hidden.mean(-1, keepdim=True), hidden.var(-1, keepdim=True, unbiased=False)
        return self.scale * (hidden - mean) / torch.sqrt(variance + 1e-5) + self.shift


class Gelu(nn.Module):
    """By its approximation (Hendrycks and Gimpel 2016)."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(...) to the same."""
        inner = math.sqrt(2 / math.pi) * (hidden + 0.044715 * torch.pow(hidden, 3))
        return 0.5 * hidden * (1 + torch.tanh(inner))


class MultiHeadAttention(nn.Module):
    """Causal self-attention with all scores in memory."""

    mask: torch.Tensor

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.0)
        self.register_buffer("mask", torch.triu(torch.ones(context, context), diagonal=1))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(rows, length, width) to the same."""
        rows, length, width = hidden.shape
        query, key, value = (
            part(hidden).view(rows, length, self.heads, -1).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(2, 3)
        scores.masked_fill_(self.mask.bool()[:length, :length], -torch.inf)
        weights = self.dropout(torch.softmax(scores / key.shape[-1] ** 0.5, dim=-1))
        mixed = (weights @ value).transpose(1, 2).contiguous().view(rows, length, width)
        result: torch.Tensor = self.output(mixed)
        return result


class Block(nn.Module):
    """Attention and feed-forward, each behind a norm."""

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width, heads, context)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), Gelu(), nn.Linear(4 * width, width))
        self.norm1, self.norm2, self.dropout = Norm(width), Norm(width), nn.Dropout(0.0)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(rows, length, width) to the same."""
        hidden = hidden + self.dropout(self.attention(self.norm1(hidden)))
        result: torch.Tensor = hidden + self.dropout(self.feed_forward(self.norm2(hidden)))
        return result


class BookGPT(nn.Module):
    """Learned positions, a head of its own."""

    def __init__(self, vocabulary: int, context: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads, context) for _ in range(layers)))
        self.norm, self.head = Norm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(rows, length) int64 to (rows, length, vocabulary) logits."""
        hidden = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        logits: torch.Tensor = self.head(self.norm(self.blocks(hidden)))
        return logits
