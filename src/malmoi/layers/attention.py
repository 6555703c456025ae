"""Attention with grouped key/value heads, of a sequence to itself or to another one."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from malmoi.layers.cache import KeysAndValues, LayerCache
from malmoi.layers.norms import RMSNorm
from malmoi.layers.rotary import RotaryTable, rotate

Mix = Literal["auto", "fused", "plain"]


class Attention(nn.Module):
    """Several query heads may share one key/value head (Ainslie and others 2023, arXiv:2305.13245).

    Attributes:
        mix: how the heads are computed, see `attend`.
    """

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
        causal: bool = True,
        window: int = 0,
        scaled: bool = True,
    ) -> None:
        """Make the layer.

        Args:
            input_bias: of query, key and value.
            norm_epsilon: of the norms on query and key heads, if any.
            causal: nothing looks ahead.
            window: how many tokens a causal layer looks back, the token itself among them; 0 for all.
            scaled: products of query and key are divided by sqrt(head_width), as everywhere but in T5.
        """
        super().__init__()
        self.heads, self.key_value_heads, self.head_width = heads, key_value_heads, head_width
        self.query = nn.Linear(width, heads * head_width, bias=input_bias)
        self.key = nn.Linear(width, key_value_heads * head_width, bias=input_bias)
        self.value = nn.Linear(width, key_value_heads * head_width, bias=input_bias)
        self.output = nn.Linear(heads * head_width, width, bias=bias)
        self.query_norm = None if norm_epsilon is None else RMSNorm(head_width, norm_epsilon)
        self.key_norm = None if norm_epsilon is None else RMSNorm(head_width, norm_epsilon)
        self.dropout, self.causal, self.window = dropout, causal, window
        self.scale = head_width**-0.5 if scaled else 1.0
        self.mix: Mix = "auto"

    def forward(
        self,
        hidden: torch.Tensor,
        rotary: RotaryTable | None = None,
        cache: LayerCache | None = None,
        mask: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        source: KeysAndValues | None = None,
    ) -> torch.Tensor:
        """(rows, length, width) to the same; with a cache the new tokens also look at what it holds.

        Args:
            mask, bias: as for `attend`.
            source: what `keys_and_values` gave of another sequence, to look at that one instead.
        """
        rows, length, _ = hidden.shape
        query = self.query(hidden).view(rows, length, self.heads, self.head_width)
        if self.query_norm is not None:
            query = self.query_norm(query)
        if rotary is not None:
            query = rotate(query, rotary)
        query = query.transpose(1, 2)
        key, value = source or self.keys_and_values(hidden, rotary)
        if cache is not None:
            key, value = cache.extend(key, value)
        dropout = self.dropout if self.training else 0.0
        if self.window and key.shape[2] > self.window:
            near = window_mask(length, key.shape[2], self.window, hidden.device)
            mask = near if mask is None else mask & near
        mixed = attend(
            query, key, value, mask=mask, bias=bias, scale=self.scale, causal=self.causal, dropout=dropout, mix=self.mix
        )
        result: torch.Tensor = self.output(mixed.transpose(1, 2).reshape(rows, length, -1))
        return result

    def keys_and_values(self, hidden: torch.Tensor, rotary: RotaryTable | None = None) -> KeysAndValues:
        """What queries look at: (rows, length, width) to twice (rows, key/value heads, length, head_width)."""
        rows, length, _ = hidden.shape
        key = self.key(hidden).view(rows, length, self.key_value_heads, self.head_width)
        value = self.value(hidden).view(rows, length, self.key_value_heads, self.head_width)
        if self.key_norm is not None:
            key = self.key_norm(key)
        if rotary is not None:
            key = rotate(key, rotary)
        return key.transpose(1, 2), value.transpose(1, 2)


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    mask: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    scale: float | None = None,
    causal: bool = True,
    dropout: float = 0.0,
    mix: Mix = "auto",
) -> torch.Tensor:
    """Every query's mean of the values, weighted by softmax(scale * query . key + bias).

    Args:
        query: (rows, heads, length, head_width).
        key, value: (rows, key_value_heads, seen, head_width); the last query is at the last key where `causal`.
        mask: boolean, True where a query may look, (length, seen) or (rows, 1, length or 1, seen); combined with
            `causal`.
        bias: (heads, length, seen), added to the products; none by default.
        scale: of the products; 1 / sqrt(head_width) by default.
        dropout: of the attention weights.
        mix: "fused" is PyTorch's kernel, "plain" two matrix products; "auto" takes what is faster here.

    Returns:
        (rows, heads, length, head_width).
    """
    length, seen = query.shape[2], key.shape[2]
    if mix == "auto":
        mix = _faster_mix(query)
    scale = query.shape[3] ** -0.5 if scale is None else scale
    bias = None if bias is None else bias.to(query.dtype)
    square_causal = causal and mask is None and bias is None and length == seen
    if causal and length > 1 and not (square_causal and mix == "fused"):
        allowed = causal_mask(length, seen, query.device)
        mask = allowed if mask is None else mask & allowed
    if mix == "plain":
        return _plain(query, key, value, mask, bias, scale, dropout)
    grouped = query.shape[1] != key.shape[1]
    is_causal = square_causal and length > 1
    if bias is not None:
        mask = bias[None] if mask is None else torch.where(mask, bias[None], -torch.inf)
    return F.scaled_dot_product_attention(
        query, key, value, mask, dropout_p=dropout, is_causal=is_causal, scale=scale, enable_gqa=grouped
    )


def causal_mask(length: int, seen: int, device: torch.device) -> torch.Tensor:
    """(length, seen) boolean, True where the query, counted from the end, is not before the key."""
    return torch.ones(length, seen, dtype=torch.bool, device=device).tril(seen - length)


def window_mask(length: int, seen: int, window: int, device: torch.device) -> torch.Tensor:
    """(length, seen) boolean, True where the key is less than `window` tokens before the query, or after it."""
    return ~torch.ones(length, seen, dtype=torch.bool, device=device).tril(seen - length - window)


def _faster_mix(query: torch.Tensor) -> Literal["fused", "plain"]:
    """On a CPU plain products win for short sequences, in reduced precision longer; measured forward and backward."""
    longest = 128 if query.dtype == torch.float32 else 256
    return "plain" if query.device.type == "cpu" and query.shape[2] <= longest else "fused"


def _plain(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    bias: torch.Tensor | None,
    scale: float,
    dropout: float,
) -> torch.Tensor:
    rows, heads, length, head_width = query.shape
    group = heads // key.shape[1]
    folded = (query * scale).reshape(rows, key.shape[1], group * length, head_width)
    scores = folded @ key.transpose(-1, -2)
    if bias is not None:
        scores = scores + bias.reshape(key.shape[1], group * length, -1)
    if mask is not None:
        barrier = torch.zeros(mask.shape, dtype=scores.dtype, device=scores.device).masked_fill_(~mask, -torch.inf)
        scores = scores + barrier.expand(*mask.shape[:-2], length, -1).repeat(*[1] * (mask.dim() - 2), group, 1)
    weights = F.dropout(scores.softmax(-1), dropout, training=dropout > 0)
    return (weights @ value).reshape(rows, heads, length, head_width)
