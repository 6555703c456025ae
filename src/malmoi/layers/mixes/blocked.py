"""Attention to what is near, and to global tokens: its cost grows with the length, not with its square."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from malmoi.layers.mixes.chunks import Chunk, attend_in_chunks
from malmoi.layers.mixes.heads import Heads, Mix


@dataclass(frozen=True)
class Blocked(Mix):
    """Chunks of queries look at the run of keys that the pattern can reach from them, and at the global ones.

    Exact for every pattern, at any length; it saves work where the pattern looks neither far back nor far ahead.

    Attributes:
        chunk: queries at a time; 0 for what was measured to be fast.
    """

    chunk: int = 0

    def refusal(self, heads: Heads) -> str:
        """See `Mix.refusal`."""
        return "a bias" if heads.bias is not None else ""

    def __call__(self, heads: Heads) -> torch.Tensor:
        """See `Mix.__call__`."""
        rows, count, length, head_width = heads.query.shape
        shared = heads.key.shape[1]
        chunks = self._chunks(heads)
        positions = heads.key_positions()
        # Where the pattern looks the same everywhere, so do the masks of chunks of one form that hold no global token.
        known: dict[tuple[int, ...], torch.Tensor] = {}
        alike = heads.pattern.moves and heads.real is None and not heads.skipped
        globals_seen = len(_global_keys(heads))

        def barrier(chunk: Chunk) -> torch.Tensor:
            if not alike or len(chunk.others) < globals_seen:
                return fresh_barrier(chunk)
            before = sum(one < chunk.low for one in chunk.others)
            form = (chunk.end - chunk.start, chunk.high - chunk.low, chunk.start - chunk.low, before)
            if form not in known:
                known[form] = fresh_barrier(chunk)
            return known[form]

        def fresh_barrier(chunk: Chunk) -> torch.Tensor:
            keys = chunk.keys(positions.device)
            queries = torch.arange(heads.start + chunk.start, heads.start + chunk.end, device=positions.device)
            allowed = heads.allowed(queries, positions[keys], keys)
            closed = torch.zeros(allowed.shape, device=allowed.device).masked_fill_(~allowed, -torch.inf)
            return closed if allowed.dim() == 2 else closed.repeat_interleave(shared, 0)[:, None]

        mixed, _ = attend_in_chunks(
            heads.query.reshape(rows * shared, count // shared, length, head_width),
            heads.key.reshape(rows * shared, -1, head_width),
            heads.value.reshape(rows * shared, -1, head_width),
            chunks,
            barrier,
            heads.factor,
            heads.dropout,
            may_be_blind=heads.may_be_blind,
        )
        return _with_globals(heads, mixed.view_as(heads.query), chunks)

    def _chunks(self, heads: Heads) -> list[Chunk]:
        size = self.chunk or chunk_size(heads)
        chunks = []
        for start in range(0, heads.length, size):
            end = min(start + size, heads.length)
            first, last = heads.start + start, heads.start + end - 1
            low = _number(first - heads.pattern.back, heads)
            high = _number(last + heads.pattern.ahead, heads) + 1
            others = tuple(one for one in _global_keys(heads) if not low <= one < high)
            chunks.append(Chunk(start, end, low, high, others))
        return chunks


def chunk_size(heads: Heads) -> int:
    """Queries at a time: on a CPU what its cache holds, elsewhere few enough steps."""
    return 64 if heads.query.device.type == "cpu" else 1024


def _number(position: float, heads: Heads) -> int:
    """The number of the key nearest to a position; those of forgotten positions lead to the first that is kept."""
    if math.isinf(position):
        return 0 if position < 0 else heads.seen - 1
    kept = int(position) - heads.skipped if position >= heads.sinks + heads.skipped else min(int(position), heads.sinks)
    return min(max(kept, 0), heads.seen - 1)


def _global_keys(heads: Heads) -> list[int]:
    """The numbers of the keys that every query may look at."""
    positions = heads.pattern.globals
    if heads.skipped and positions and positions[-1] >= heads.sinks:
        raise AssertionError("a cache has forgotten a global position")
    return [position for position in positions if position < heads.seen]


def _with_globals(heads: Heads, mixed: torch.Tensor, chunks: Sequence[Chunk]) -> torch.Tensor:
    """The same with the rows of global queries that look at more than their chunks do."""
    start, positions = heads.start, heads.key_positions()
    wanted = [position - start for position in heads.pattern.globals if start <= position < start + heads.length]
    if not wanted:
        return mixed
    places = torch.tensor(wanted, device=mixed.device)
    allowed = heads.allowed(start + places, positions, slice(None))
    left = allowed.clone()
    for row, place in enumerate(wanted):
        chunk = next(chunk for chunk in chunks if chunk.start <= place < chunk.end)
        left[..., row, chunk.keys(mixed.device)] = False
    more = left.flatten(0, -3).any(0).any(-1) if left.dim() > 2 else left.any(-1)
    if not more.any():
        return mixed
    places, allowed = places[more], allowed[..., more, :]
    allowed = allowed if allowed.dim() == 2 else allowed[:, None]
    rows = F.scaled_dot_product_attention(
        heads.query[:, :, places],
        heads.key,
        heads.value,
        allowed,
        dropout_p=heads.dropout,
        scale=heads.factor,
        enable_gqa=heads.query.shape[1] != heads.key.shape[1],
    )
    return mixed.index_copy(2, places, rows.masked_fill(~allowed.any(-1, keepdim=True), 0).to(mixed.dtype))
