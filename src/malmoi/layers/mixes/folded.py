"""Rows and columns of a grid: one reshape turns both into many short sequences.

Axial attention (Ho and others 2019, arXiv:1912.12180) and the strided Sparse Transformer (Child and others 2019,
arXiv:1904.10509). A sequence is a grid of rows of `size` tokens, the last of which may be shorter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F

from malmoi.layers.mixes.dense import Dense
from malmoi.layers.mixes.heads import Heads, Mix
from malmoi.layers.pattern import FULL, Both, Pattern
from malmoi.layers.patterns import CAUSAL, Blocks, Causal, Stride


@dataclass(frozen=True)
class Folded(Mix):
    """Computes `blocks(n)` and `stride(n)`, with causality or without, as dense attention of rows or columns."""

    def refusal(self, heads: Heads) -> str:
        """See `Mix.refusal`."""
        if heads.skipped:
            return "keys that were forgotten"
        if folds(heads.pattern) is None:
            return f"the pattern {heads.pattern}"
        if heads.bias is not None:
            return "a bias"
        return "padding" if heads.real is not None else ""

    def __call__(self, heads: Heads) -> torch.Tensor:
        """See `Mix.__call__`."""
        found = folds(heads.pattern)
        assert found is not None
        fold, inside = found
        if heads.length == 1:
            return _last(heads, fold)
        before = heads.start  # queries of tokens in a cache, or of another process, are computed again and dropped
        whole = replace(heads, query=F.pad(heads.query, (0, 0, before, heads.later)), pattern=inside)
        mixed = _columns(whole, fold.size) if isinstance(fold, Stride) else _rows(whole, fold.size)
        return mixed[:, :, before : before + heads.length]


def folds(pattern: Pattern) -> tuple[Blocks | Stride, Pattern] | None:
    """The rows or columns that a pattern consists of, and what holds inside of each; None if it is none of that."""
    if isinstance(pattern, Blocks | Stride):
        return pattern, FULL
    if isinstance(pattern, Both):
        for one, other in ((pattern.left, pattern.right), (pattern.right, pattern.left)):
            if isinstance(one, Causal) and isinstance(other, Blocks | Stride):
                return other, CAUSAL
    return None


def _last(heads: Heads, fold: Blocks | Stride) -> torch.Tensor:
    """One query, at the end."""
    last = heads.start
    seen = slice(last % fold.size, None, fold.size)
    if isinstance(fold, Blocks):
        seen = slice(last // fold.size * fold.size, None)
    return Dense()(replace(heads, key=heads.key[:, :, seen], value=heads.value[:, :, seen], pattern=FULL))


def _rows(heads: Heads, size: int) -> torch.Tensor:
    """Each run of `size` tokens alone."""
    whole = heads.seen // size * size
    parts = [_dense(heads, lambda x: _fold(x[:, :, :whole], size), lambda x: _unfold(x, heads))] if whole else []
    if whole < heads.seen:
        parts.append(_dense(heads, lambda x: x[:, :, whole:], lambda x: x))
    return torch.cat(parts, 2)


def _columns(heads: Heads, size: int) -> torch.Tensor:
    """Every `size`-th token alone; the first columns may have one token more than the others."""
    short, longer = divmod(heads.seen, size)
    if longer:
        first = _dense_columns(heads, short + 1, size, slice(0, longer))
        rest = _dense_columns(heads, short, size, slice(longer, size)) if short else first[:, :, :, :0]
        rest = F.pad(rest, (0, 0, 0, 0, 0, short + 1 - rest.shape[2]))
        grid = torch.cat([first, rest], 3)
    else:
        grid = _dense_columns(heads, short, size, slice(0, size))
    return grid.flatten(2, 3)[:, :, : heads.seen]


def _dense_columns(heads: Heads, height: int, size: int, columns: slice) -> torch.Tensor:
    """(rows, heads, height, columns, head_width), some columns of the grid."""

    def fold(x: torch.Tensor) -> torch.Tensor:
        padded = F.pad(x, (0, 0, 0, max(0, height * size - x.shape[2])))[:, :, : height * size]
        grid = padded.view(*x.shape[:2], height, size, -1)[:, :, :, columns]
        return grid.permute(0, 3, 1, 2, 4).flatten(0, 1)

    def unfold(x: torch.Tensor) -> torch.Tensor:
        return _ungroup(x, heads).permute(0, 2, 3, 1, 4)

    return _dense(heads, fold, unfold)


def _fold(x: torch.Tensor, size: int) -> torch.Tensor:
    """(rows, heads, runs * size, width) to (rows * runs, heads, size, width)."""
    return x.reshape(*x.shape[:2], -1, size, x.shape[3]).transpose(1, 2).flatten(0, 1)


def _unfold(x: torch.Tensor, heads: Heads) -> torch.Tensor:
    return _ungroup(x, heads).transpose(1, 2).flatten(2, 3)


def _ungroup(x: torch.Tensor, heads: Heads) -> torch.Tensor:
    """(rows * runs, ...) to (rows, runs, ...)."""
    return x.reshape(heads.query.shape[0], -1, *x.shape[1:])


def _dense(
    heads: Heads, fold: Callable[[torch.Tensor], torch.Tensor], unfold: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    folded = replace(heads, query=fold(heads.query), key=fold(heads.key), value=fold(heads.value))
    return unfold(Dense()(folded))
