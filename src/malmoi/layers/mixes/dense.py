"""Attention over all pairs of tokens: the reference for every other mix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from malmoi.layers.mixes.heads import Heads, Mix
from malmoi.layers.pattern import FULL
from malmoi.layers.patterns import CAUSAL


@dataclass(frozen=True)
class Dense(Mix):
    """PyTorch's fused kernel, with the pattern as a mask."""

    def refusal(self, heads: Heads) -> str:
        """See `Mix.refusal`."""
        return ""

    def __call__(self, heads: Heads) -> torch.Tensor:
        """See `Mix.__call__`."""
        is_causal = _square_causal(heads)
        mask = None if is_causal or _sees_all(heads) else heads.mask()
        blind = _blind(heads, mask)
        if heads.bias is not None:
            bias = heads.bias.to(heads.query.dtype)[None]
            mask = bias if mask is None else torch.where(mask, bias, -torch.inf)
        grouped = heads.query.shape[1] != heads.key.shape[1]
        mixed = F.scaled_dot_product_attention(
            heads.query,
            heads.key,
            heads.value,
            mask,
            dropout_p=heads.dropout,
            is_causal=is_causal,
            scale=heads.factor,
            enable_gqa=grouped,
        )
        return mixed if blind is None else mixed.masked_fill(blind, 0)


@dataclass(frozen=True)
class Plain(Mix):
    """Two matrix products and a softmax: on a CPU faster than the fused kernel while the sequences are short."""

    def refusal(self, heads: Heads) -> str:
        """See `Mix.refusal`."""
        return ""

    def __call__(self, heads: Heads) -> torch.Tensor:
        """See `Mix.__call__`."""
        rows, count, length, head_width = heads.query.shape
        shared = heads.key.shape[1]
        group = count // shared
        folded = (heads.query * heads.factor).reshape(rows, shared, group * length, head_width)
        scores = folded @ heads.key.transpose(-1, -2)
        if heads.bias is not None:
            scores = scores + heads.bias.to(heads.query.dtype).reshape(shared, group * length, -1)
        mask = None if _sees_all(heads) else heads.mask()
        blind = _blind(heads, mask)
        if mask is not None:
            seen = mask if blind is None else mask | blind
            barrier = torch.zeros(mask.shape, dtype=scores.dtype, device=scores.device).masked_fill_(~seen, -torch.inf)
            scores = scores + barrier.expand(*mask.shape[:-2], length, -1).repeat(*[1] * (mask.dim() - 2), group, 1)
        weights = F.dropout(scores.softmax(-1), heads.dropout, training=heads.dropout > 0)
        mixed = (weights @ heads.value).reshape(rows, count, length, head_width)
        return mixed if blind is None else mixed.masked_fill(blind, 0)


def _square_causal(heads: Heads) -> bool:
    """Whether the kernel's own causal mask is the right one."""
    plain = heads.real is None and heads.bias is None and heads.length > 1
    return plain and heads.pattern == CAUSAL and heads.length == heads.seen


def _sees_all(heads: Heads) -> bool:
    """Whether there is one query, at the end, which may look at every key."""
    return heads.real is None and heads.length == 1 and heads.pattern in (CAUSAL, FULL)


def _blind(heads: Heads, mask: torch.Tensor | None) -> torch.Tensor | None:
    """(length, 1) or (rows, 1, length, 1) boolean, True where a query may look at nothing; None where none is."""
    if mask is None or not heads.may_be_blind:
        return None
    return ~mask.any(-1, keepdim=True)
