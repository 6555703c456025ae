"""Attention a chunk of queries at a time, to the few keys near them: memory grows with their number, not its square."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Chunk:
    """Some queries and the keys they may look at.

    Attributes:
        start, end: the queries.
        low, high: a run of keys.
        others: single keys outside that run.
    """

    start: int
    end: int
    low: int
    high: int
    others: tuple[int, ...] = ()

    def keys(self, device: torch.device) -> torch.Tensor:
        """(high - low + others,) int64, the numbers of all keys run first."""
        run = torch.arange(self.low, self.high, device=device)
        return torch.cat([run, torch.tensor(self.others, device=device)]) if self.others else run

    def products(self, rows: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """(groups, queries, width) times (groups, seen, width): (groups, queries, keys)."""
        run = rows @ numbers[:, self.low : self.high].transpose(1, 2)
        if not self.others:
            return run
        return torch.cat([run, rows @ numbers[:, list(self.others)].transpose(1, 2)], 2)

    def weighed(self, weights: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """(groups, queries, keys) times (groups, seen, width): (groups, queries, width)."""
        count = self.high - self.low
        sums = weights[:, :, :count] @ numbers[:, self.low : self.high]
        return sums.baddbmm_(weights[:, :, count:], numbers[:, list(self.others)]) if self.others else sums

    def add_weighed(self, numbers: torch.Tensor, weights: torch.Tensor, rows: torch.Tensor) -> None:
        """Add to (groups, seen, width), in place, the rows times the weights that each key had in them."""
        count = self.high - self.low
        numbers[:, self.low : self.high].baddbmm_(weights[:, :, :count].transpose(1, 2), rows)
        if self.others:
            numbers[:, list(self.others)] += weights[:, :, count:].transpose(1, 2) @ rows


Barrier = Callable[[Chunk], torch.Tensor]
"""Float32 (groups or 1, shares or 1, queries, keys) to add to a chunk's scaled products, -inf where none may look."""


def attend_in_chunks(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    chunks: Sequence[Chunk],
    barrier: Barrier,
    scale: float,
    dropout: float = 0.0,
    with_sums: bool = False,
    may_be_blind: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Softmax attention of each chunk's queries to its keys, with a gradient that has none of its own.

    Args:
        query: (groups, shares, length, head_width): as many queries of a group share its keys.
        key, value: (groups, seen, head_width).
        chunks: all queries, in their order.
        with_sums: give the second result too.
        may_be_blind: a query may find nothing but -inf.

    Returns:
        (groups, shares, length, head_width), zeros where a query may look at nothing; and the logarithm of the sum of
        a query's weights before they are normed, (groups, shares, length) float32, -inf there; else zeros.
    """
    mixed, sums = _InChunks.apply(query, key, value, chunks, barrier, scale, dropout, with_sums, may_be_blind)  # type: ignore[no-untyped-call]
    return mixed, sums


class _InChunks(torch.autograd.Function):
    """Written out, since slices that overlap cost autograd a copy of everything each."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        chunks: Sequence[Chunk],
        barrier: Barrier,
        scale: float,
        dropout: float,
        with_sums: bool,
        may_be_blind: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(query.device.type, enabled=False):
            query = query * scale
            mixed = torch.empty_like(query)
            sums = torch.zeros(query.shape[:-1], dtype=torch.float32, device=query.device)
            kept: list[torch.Tensor] = []
            for chunk in chunks:
                here = slice(chunk.start, chunk.end)
                some = query[:, :, here]
                scores = chunk.products(some.flatten(1, 2), key)
                scores = scores.view(*some.shape[:3], -1).float().add_(barrier(chunk))
                weights = scores.softmax(-1)
                if may_be_blind:
                    weights.nan_to_num_(0.0)  # what a row of -inf alone gives
                if with_sums:
                    sums[:, :, here] = scores.amax(-1) - weights.amax(-1).log()
                weights = weights.to(query.dtype)
                drop = _keep(weights, dropout) if dropout else None
                used = weights if drop is None else weights * drop
                mixed[:, :, here] = chunk.weighed(used.flatten(1, 2), value).view_as(some)
                if any(ctx.needs_input_grad):
                    kept += [weights] if drop is None else [weights, drop]
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(query, key, value, mixed, *kept)
            ctx.chunks, ctx.scale, ctx.dropout = chunks, scale, dropout
        return mixed, sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, mixed, *kept = ctx.saved_tensors
        gradient, to_sums = gradients
        to_query, to_key, to_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        # A weight's share in the gradient of its row's sum is taken off here, once for all keys of the row.
        level = (gradient * mixed).sum(-1, keepdim=True) - to_sums.unsqueeze(-1).to(gradient.dtype)
        pieces = iter(kept)
        for chunk in ctx.chunks:
            here = slice(chunk.start, chunk.end)
            weights = next(pieces)
            drop = next(pieces) if ctx.dropout else None
            some, slope = query[:, :, here].flatten(1, 2), gradient[:, :, here].flatten(1, 2)
            chunk.add_weighed(to_value, (weights if drop is None else weights * drop).flatten(1, 2), slope)
            to_scores = chunk.products(slope, value).view_as(weights)
            to_scores = to_scores if drop is None else to_scores * drop
            to_scores = to_scores.sub_(level[:, :, here]).mul_(weights).flatten(1, 2)
            to_query[:, :, here] = chunk.weighed(to_scores, key).view_as(to_query[:, :, here])
            chunk.add_weighed(to_key, to_scores, some)
        return to_query.mul_(ctx.scale), to_key, to_value, None, None, None, None, None, None


def _keep(weights: torch.Tensor, dropout: float) -> torch.Tensor:
    """Zeros and 1 / (1 - dropout), by chance."""
    return torch.empty_like(weights).bernoulli_(1 - dropout).div_(1 - dropout)
