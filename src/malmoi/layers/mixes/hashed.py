"""Attention among tokens whose hashes agree (Kitaev and others 2020, Reformer, arXiv:2001.04451).

Queries are their own keys. Each round throws the tokens into buckets by the direction of their key, and a token looks
at the nearest tokens of its bucket. Where the paper cuts the sorted tokens into chunks, whose borders depend on what
comes later, here the last `reach` tokens of the bucket are looked at: nothing that comes later changes what was seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from malmoi.core.errors import UserError
from malmoi.layers.mixes.blocked import chunk_size
from malmoi.layers.mixes.chunks import Chunk, attend_in_chunks
from malmoi.layers.mixes.heads import Heads, Mix
from malmoi.layers.pattern import FULL
from malmoi.layers.patterns import CAUSAL, Documents

LAST_CHOICE = -1e5
"""Added to the product of a token with itself, which would else outweigh all others."""

FACTOR_BITS = 4
"""Buckets are products of up to 16: with n / c buckets at once, hashing alone would cost n * n / c."""


@dataclass(frozen=True)
class Hashed(Mix):
    """Softmax attention to the union of what the rounds let a token see; each pair counts once.

    Attributes:
        reach: how many tokens of its bucket a token looks back at, itself among them (and ahead, without causality).
        rounds: of hashing.
        buckets: a power of two. It is fixed, so that what was seen of a text does not change while the text grows.
    """

    exact: ClassVar[bool] = False
    shares_keys: ClassVar[bool] = True

    reach: int = 64
    rounds: int = 4
    buckets: int = 16

    def __post_init__(self) -> None:
        if self.buckets < 1 or self.buckets & (self.buckets - 1):
            raise UserError(f"{self}: {self.buckets} buckets are no power of two.", "Choose 1, 2, 4, 8 and so on.")
        if self.reach < 1 or self.rounds < 1:
            raise UserError(f"{self}: reach and rounds must be at least 1.", "Choose 1 or more.")

    def refusal(self, heads: Heads) -> str:
        """See `Mix.refusal`."""
        if heads.pattern not in (FULL, CAUSAL, Documents(), CAUSAL & Documents()):
            return f"the pattern {heads.pattern}"
        if heads.query.shape[1] != heads.key.shape[1]:
            return "grouped heads"
        if heads.bias is not None:
            return "a bias"
        if heads.skipped:
            return "keys that were forgotten"
        return "padding" if heads.real is not None else ""

    def __call__(self, heads: Heads) -> torch.Tensor:
        """See `Mix.__call__`."""
        buckets = self.hash(heads)
        return over_union(heads, self, buckets) if heads.length < heads.seen else self._sorted(heads, buckets)

    def hash(self, heads: Heads) -> torch.Tensor:
        """(rounds, rows, heads, seen) int64, the bucket of each key; new ones each time while training."""
        width, left = heads.key.shape[3], self.buckets.bit_length() - 1
        source = None if heads.training else torch.Generator().manual_seed(0)
        buckets = torch.zeros(self.rounds, *heads.key.shape[:3], dtype=torch.int64, device=heads.key.device)
        if heads.documents is not None and heads.pattern.needs_documents:
            buckets += heads.documents[:, None, : heads.seen]
        while left > 0:
            size = 1 << min(FACTOR_BITS, left)
            left -= FACTOR_BITS
            turns = torch.randn(self.rounds, 1, 1, width, size // 2, generator=source).to(heads.key)
            turned = heads.key.detach() @ turns
            buckets = buckets * size + torch.cat([turned, -turned], -1).argmax(-1)
        return buckets

    def _sorted(self, heads: Heads, buckets: torch.Tensor) -> torch.Tensor:
        """Sort by bucket and position, let every token look at its neighbours, sort back, weigh the rounds."""
        shape, length = heads.query.shape, heads.length
        causal = not heads.pattern.ahead
        buckets = buckets.flatten(1, 2)
        order = buckets.sort(dim=-1, stable=True).indices
        places = order.argsort(-1)
        # Buckets are moved apart by `reach` places, so that who is nearer than that shares the bucket.
        spread = (places + self.reach * buckets).int()
        elsewhere = [_in_order(spread, one) for one in order]  # for the tokens in the order of each round

        def barrier(chunk: Chunk) -> torch.Tensor:
            parts = []
            for number, places in enumerate(elsewhere):
                here = _meet(places[number], chunk, self.reach, causal)
                met = sum((_meet(one, chunk, self.reach, causal).float() for one in places), start=0.0)
                parts.append(torch.where(here, -torch.as_tensor(met).clamp(min=1).log(), -torch.inf))
            own = torch.arange(chunk.start, chunk.end, device=heads.key.device)[:, None] == chunk.keys(heads.key.device)
            return torch.cat(parts).masked_fill_(own, LAST_CHOICE)[:, None]

        size = min(chunk_size(heads), max(32, self.reach))
        chunks = [
            Chunk(
                start,
                end := min(start + size, length),
                max(0, start - self.reach + 1),
                end if causal else min(length, end + self.reach - 1),
            )
            for start in range(0, length, size)
        ]
        query, key, value = (_by_round(one, order) for one in (heads.query, heads.key, heads.value))
        mixed, sums = attend_in_chunks(
            query[:, None], key, value, chunks, barrier, heads.factor, heads.dropout, with_sums=True
        )
        back = places.flatten(0, 1)
        mixed = mixed[:, 0].gather(1, back[..., None].expand(-1, -1, shape[3]))
        share = sums[:, 0].gather(1, back).view(self.rounds, -1, length, 1).softmax(0)
        weighed = mixed.view(self.rounds, -1, length, shape[3]) * share.to(mixed.dtype)
        return weighed.sum(0).view(shape)


def over_union(heads: Heads, mix: Hashed, buckets: torch.Tensor) -> torch.Tensor:
    """The same by a mask of all pairs: the reference, and the way for a few queries at the end of many keys."""
    places = buckets.sort(dim=-1, stable=True).indices.argsort(-1)
    last = slice(heads.start, heads.start + heads.length)
    distance = places[..., last, None] - places[..., None, :]
    near = (distance < mix.reach) & (distance > (-1 if not heads.pattern.ahead else -mix.reach))
    seen = ((buckets[..., last, None] == buckets[..., None, :]) & near).any(0)
    if not heads.pattern.ahead:
        seen &= CAUSAL.dense(heads.length, heads.seen, heads.key.device)
    scores = (heads.query @ heads.key.transpose(-1, -2)).float() * heads.factor
    own = torch.eye(heads.seen, dtype=torch.bool, device=heads.key.device)[last]
    scores = scores.masked_fill(~seen, -torch.inf).masked_fill(own, LAST_CHOICE)
    weights = torch.dropout(scores.softmax(-1), heads.dropout, heads.dropout > 0)
    return weights.to(heads.value.dtype) @ heads.value


def shared_keys(query: torch.Tensor) -> torch.Tensor:
    """(..., head_width) queries as keys: all of one length, so that the nearest is the most alike."""
    return torch.nn.functional.normalize(query, dim=-1) * math.sqrt(query.shape[-1])


def _by_round(numbers: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """(rows, heads, length, width) to (rounds * rows * heads, length, width), each round in its own order."""
    flat = numbers.flatten(0, 1).expand(order.shape[0], -1, -1, -1)
    return flat.gather(2, order[..., None].expand(-1, -1, -1, numbers.shape[-1])).flatten(0, 1)


def _in_order(numbers: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """(rounds, groups, length) with the tokens of each group in this order, (groups, length)."""
    return numbers.gather(-1, order.expand(numbers.shape))


def _meet(places: torch.Tensor, chunk: Chunk, reach: int, causal: bool) -> torch.Tensor:
    """(groups, queries, keys) boolean, True where one round lets the chunk's queries see its keys."""
    distance = places[:, chunk.start : chunk.end, None] - places[:, None, chunk.low : chunk.high]
    return (distance < reach) & (distance >= 0 if causal else distance > -reach)
