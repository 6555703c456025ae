"""Linear attention (Katharopoulos and others 2020, arXiv:2006.16236): no softmax, so that sums replace the keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional as F

from malmoi.layers.mixes.heads import Heads, Mix
from malmoi.layers.pattern import FULL
from malmoi.layers.patterns import CAUSAL


@dataclass(frozen=True)
class Linear(Mix):
    """Weights are products of elu(query) + 1 and elu(key) + 1, which are positive, divided by their sum.

    Attributes:
        chunk: tokens that are computed as pairs; what is before them is a sum.
    """

    exact: ClassVar[bool] = False
    keeps_sums: ClassVar[bool] = True

    chunk: int = 64

    def refusal(self, heads: Heads) -> str:
        """See `Mix.refusal`."""
        if heads.pattern not in (CAUSAL, FULL):
            return f"the pattern {heads.pattern}"
        if heads.bias is not None:
            return "a bias"
        if heads.dropout:
            return "dropout of its weights"
        return "keys of tokens before" if heads.pattern == CAUSAL and heads.length != heads.seen else ""

    def __call__(self, heads: Heads) -> torch.Tensor:
        """See `Mix.__call__`."""
        with torch.autocast(heads.query.device.type, enabled=False):
            query, key, value = features(heads)
            if heads.pattern == FULL:
                return normed(query @ (key.transpose(-1, -2) @ value).unsqueeze(2), heads)
            return normed(in_chunks(query, key, value, self.chunk, heads.sums), heads)


def features(heads: Heads) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the three forms below take: positive queries and keys, and values with a one behind, float32.

    Returns:
        (rows, key_value_heads, shares, length, head_width) queries and (rows, key_value_heads, seen, ...) of the rest;
        padding has keys of zero.
    """
    shared = heads.key.shape[1]
    rows, count, length, head_width = heads.query.shape
    query = (F.elu(heads.query.float()) + 1).reshape(rows, shared, count // shared, length, head_width)
    key = F.elu(heads.key.float()) + 1
    if heads.real is not None:
        key = key * heads.real[:, None, :, None]
    return query, key, F.pad(heads.value.float(), (0, 1), value=1.0)


def quadratic(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """All pairs: what the other two forms must agree with. Takes what `features` gives; causal."""
    return (query @ key.unsqueeze(2).transpose(-1, -2)).tril() @ value.unsqueeze(2)


def recurrent(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """One token after the other."""
    sums = key.new_zeros(*key.shape[:2], key.shape[-1], value.shape[-1])
    steps = []
    for place in range(key.shape[2]):
        sums = sums + key[:, :, place, :, None] * value[:, :, place, None]
        steps.append(query[:, :, :, place, None] @ sums.unsqueeze(2))
    return torch.cat(steps, 3)


def in_chunks(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, size: int, sums: torch.Tensor | None = None
) -> torch.Tensor:
    """Pairs within a chunk, a sum for what is before it.

    Args:
        sums: of the tokens before, updated in place.
    """
    length = key.shape[2]
    size = min(size, length)
    pad = -length % size
    query, key, value = (_cut(F.pad(one, (0, 0, 0, pad)), size) for one in (query, key, value))
    products = key.transpose(-1, -2) @ value  # of each chunk
    before = F.pad(products.cumsum(2)[:, :, :-1], (0, 0, 0, 0, 1, 0))
    if sums is not None:
        before = before + sums.unsqueeze(2)
        sums += products.sum(2)
    inside = (query @ key.unsqueeze(2).transpose(-1, -2)).tril() @ value.unsqueeze(2)
    mixed = (inside + query @ before.unsqueeze(2)).flatten(3, 4)
    return mixed[:, :, :, :length]


def _cut(numbers: torch.Tensor, size: int) -> torch.Tensor:
    """(..., chunks * size, width) to (..., chunks, size, width)."""
    return numbers.reshape(*numbers.shape[:-2], -1, size, numbers.shape[-1])


def normed(mixed: torch.Tensor, heads: Heads) -> torch.Tensor:
    """Divide by the sum of the weights, which is the last number of each; zeros where it is zero."""
    weight = mixed[..., -1:]
    normed = torch.where(weight > 0, mixed[..., :-1] / weight.clamp(min=1e-30), 0)
    return normed.flatten(1, 2).to(heads.query.dtype)
