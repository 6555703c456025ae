"""Global tokens with projections of their own (Beltagy and others 2020, Longformer, arXiv:2004.05150)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from malmoi.layers.attention import Attention
from malmoi.layers.mixes.heads import Heads
from malmoi.layers.mixes.registry import attend
from malmoi.layers.pattern import FULL


class GlobalAttention(Attention):
    """Others look at global tokens as at any; these look at everything through a second query, key and value."""

    def __init__(self, width: int, heads: int, key_value_heads: int, head_width: int, **arguments: Any) -> None:
        """Make the layer; the arguments are those of `Attention`."""
        super().__init__(width, heads, key_value_heads, head_width, **arguments)
        bias = self.query.bias is not None
        self.global_query = nn.Linear(width, heads * head_width, bias=bias)
        self.global_key = nn.Linear(width, key_value_heads * head_width, bias=bias)
        self.global_value = nn.Linear(width, key_value_heads * head_width, bias=bias)

    def mixed(self, heads: Heads, hidden: torch.Tensor) -> torch.Tensor:
        """See `Attention.mixed`."""
        mixed = super().mixed(heads, hidden)
        places = torch.tensor([one for one in self.pattern.globals if one < heads.length], device=hidden.device)
        if not len(places):
            return mixed
        query = self._heads(self.global_query(hidden[:, places]))
        key, value = self._heads(self.global_key(hidden)), self._heads(self.global_value(hidden))
        wide = Heads(query, key, value, FULL, real=heads.real, scale=heads.scale, dropout=heads.dropout)
        return mixed.index_copy(2, places, attend(wide).to(mixed.dtype))

    def _heads(self, projected: torch.Tensor) -> torch.Tensor:
        return projected.view(*projected.shape[:2], -1, self.head_width).transpose(1, 2)
