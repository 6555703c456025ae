"""Attention with grouped key/value heads, of a sequence to itself or to another one."""

from __future__ import annotations

import torch
from torch import nn

from malmoi.core.accelerator import product_dtype
from malmoi.layers.cache import KeysAndValues, LayerCache
from malmoi.layers.mixes.hashed import shared_keys
from malmoi.layers.mixes.heads import Heads, Mix
from malmoi.layers.mixes.registry import AUTO, attend
from malmoi.layers.norms import RMSNorm
from malmoi.layers.pattern import Pattern
from malmoi.layers.patterns import CAUSAL
from malmoi.layers.rotary import RotaryTable, rotate
from malmoi.layers.stores import Kept


class Attention(nn.Module):
    """Several query heads may share one key/value head (Ainslie and others 2023, arXiv:2305.13245).

    Attributes:
        pattern: who may look at whom.
        mix: how that is computed.
        key: None where the queries are their own keys.
    """

    key: nn.Linear | None
    query_norm: RMSNorm | None
    key_norm: RMSNorm | None

    def __init__(
        self,
        width: int,
        heads: int,
        key_value_heads: int,
        head_width: int,
        *,
        bias: bool = False,
        input_bias: bool = False,
        norm_epsilon: float | None = None,
        dropout: float = 0.0,
        pattern: Pattern = CAUSAL,
        mix: Mix = AUTO,
        scaled: bool = True,
    ) -> None:
        """Make the layer.

        Args:
            input_bias: of query, key and value.
            norm_epsilon: of the norms on query and key heads, if any.
            scaled: products of query and key are divided by sqrt(head_width), as everywhere but in T5.
        """
        super().__init__()
        self.heads, self.key_value_heads, self.head_width = heads, key_value_heads, head_width
        self.query = nn.Linear(width, heads * head_width, bias=input_bias)
        self.key = None if mix.shares_keys else nn.Linear(width, key_value_heads * head_width, bias=input_bias)
        self.value = nn.Linear(width, key_value_heads * head_width, bias=input_bias)
        self.output = nn.Linear(heads * head_width, width, bias=bias)
        self.query_norm = None if norm_epsilon is None else RMSNorm(head_width, norm_epsilon)
        self.key_norm = None if norm_epsilon is None or mix.shares_keys else RMSNorm(head_width, norm_epsilon)
        self.dropout, self.pattern, self.mix = dropout, pattern, mix
        self.scale = head_width**-0.5 if scaled else 1.0

    def forward(
        self,
        hidden: torch.Tensor,
        rotary: RotaryTable | None = None,
        cache: LayerCache | None = None,
        real: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        source: KeysAndValues | None = None,
        documents: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(rows, length, width) to the same; with a cache the new tokens also look at what it holds.

        Args:
            real, bias, documents: see `Heads`.
            source: what `keys_and_values` gave of another sequence, to look at that one instead.
        """
        hidden = hidden.to(product_dtype(hidden))  # once, not for each of the products
        rows, length, _ = hidden.shape
        query = self.query(hidden).view(rows, length, self.heads, self.head_width)
        if self.query_norm is not None:
            query = self.query_norm(query)
        if rotary is not None:
            query = rotate(query, rotary)
        query = query.transpose(1, 2)
        if self.key is None:
            key, value = shared_keys(query), self._values(hidden)
        else:
            key, value = source or self.keys_and_values(hidden, rotary)
        kept = Kept(key, value) if cache is None else cache.extend(key, value)
        heads = Heads(
            query,
            kept.key,
            kept.value,
            self.pattern,
            real=real,
            documents=documents,
            bias=bias,
            scale=self.scale,
            dropout=self.dropout if self.training else 0.0,
            sinks=kept.sinks,
            skipped=kept.skipped,
            training=self.training,
            sums=kept.sums,
        )
        mixed = self.mixed(heads, hidden)
        result: torch.Tensor = self.output(mixed.transpose(1, 2).reshape(rows, length, -1))
        return result

    def mixed(self, heads: Heads, hidden: torch.Tensor) -> torch.Tensor:
        """(rows, heads, length, head_width), what the heads look at, of the hidden states they were made from."""
        return attend(heads, self.mix)

    def keys_and_values(self, hidden: torch.Tensor, rotary: RotaryTable | None = None) -> KeysAndValues:
        """What queries look at: (rows, length, width) to twice (rows, key/value heads, length, head_width)."""
        assert self.key is not None
        rows, length, _ = hidden.shape
        key = self.key(hidden).view(rows, length, self.key_value_heads, self.head_width)
        if self.key_norm is not None:
            key = self.key_norm(key)
        if rotary is not None:
            key = rotate(key, rotary)
        return key.transpose(1, 2), self._values(hidden)

    def _values(self, hidden: torch.Tensor) -> torch.Tensor:
        rows, length, _ = hidden.shape
        heads: torch.Tensor = self.value(hidden).view(rows, length, self.key_value_heads, self.head_width)
        return heads.transpose(1, 2)
