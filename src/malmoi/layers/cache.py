"""What generation keeps of the tokens already seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch

from malmoi.layers.mixes.heads import Heads
from malmoi.layers.patterns import CAUSAL
from malmoi.layers.schedule import EVERYTHING, LayerAttention
from malmoi.layers.stores import Kept, Rounded, Sliding, Store, Sums, Whole, sliding_size

KeysAndValues = tuple[torch.Tensor, torch.Tensor]
"""What queries look at, both (rows, key/value heads, length, head_width)."""


class Cache(Protocol):
    """What a model that goes on with a text keeps of what it has read, whatever it is made of.

    Attributes:
        length: how many tokens it has read; the position of the next one.
        capacity: how many it may read.
    """

    length: int
    capacity: int

    @property
    def bytes(self) -> int:
        """Memory of what is kept of the tokens."""
        ...

    def crop(self, length: int) -> int:
        """Forget everything from position `length` on.

        Returns:
            `length`, or 0 where it does not hold any more what it would need to go on from there.
        """
        ...

    def repeat(self, rows: int, length: int) -> Cache:
        """A cache with room for `length` tokens in each of `rows` rows, all of which hold what this one's row holds."""
        ...


class CacheShape(Protocol):
    """The fields of a configuration that the cache needs."""

    @property
    def layers(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def key_value_heads(self) -> int: ...
    @property
    def head_width(self) -> int: ...
    @property
    def short_convolution(self) -> int: ...
    def layer_attention(self, index: int) -> LayerAttention:
        """How layer `index` attends, causality left aside."""
        ...


class CacheSizes(NamedTuple):
    """The same of a stack that has no configuration of its own."""

    layers: int
    width: int
    key_value_heads: int
    head_width: int
    short_convolution: int = 0

    def layer_attention(self, index: int) -> LayerAttention:
        """See `CacheShape`."""
        return EVERYTHING


@dataclass(frozen=True)
class LayerCache:
    """One layer's share of a `KeyValueCache`.

    Attributes:
        store: its keys and values.
        inputs: (2, rows, capacity, width), what the two short convolutions have read; None without them.
        start: position of the first new token.
    """

    store: Store
    inputs: torch.Tensor | None
    start: int

    def extend(self, key: torch.Tensor, value: torch.Tensor) -> Kept:
        """Store new keys and values (rows, key/value heads, length, head_width); give all that may be looked at."""
        return self.store.extend(self.start, key, value)

    def extend_inputs(self, place: int, hidden: torch.Tensor, reach: int) -> torch.Tensor:
        """Store what convolution `place` reads, (rows, length, width); give it with up to `reach` steps before it."""
        assert self.inputs is not None
        end = self.start + hidden.shape[1]
        self.inputs[place, :, self.start : end] = hidden
        return self.inputs[place, :, max(self.start - reach, 0) : end]


class KeyValueCache:
    """Keys and values of every layer; also what short convolutions and bigrams look back to.

    A layer that looks back a fixed number of tokens keeps no more than those, one of linear attention only a sum.

    Attributes:
        length: how many tokens are stored; the position of the next one.
        capacity: how many fit.
        tokens: (rows, capacity) int64.
        sources: of every layer of a decoder, the keys and values of the source, computed at the first step; empty
            before it, and where there is no source.
        steps: what a model made to compute one token more with this cache, if it did.
    """

    def __init__(
        self,
        config: CacheShape,
        rows: int,
        length: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        *,
        int8: bool = False,
    ) -> None:
        """Make an empty one; with `int8` keys and values are held in eight bits a number."""
        self._config, self._dtype, self._int8 = config, dtype, int8
        self._stores = [_store(config, index, rows, length, dtype, device, int8) for index in range(config.layers)]
        self.inputs = (
            torch.empty((config.layers, 2, rows, length, config.width), dtype=dtype, device=device)
            if config.short_convolution
            else None
        )
        self.tokens = torch.empty((rows, length), dtype=torch.int64, device=device)
        self.length = 0
        self.capacity = length
        self.sources: list[KeysAndValues] = []
        self.steps: list[Any] | None = None

    @property
    def bytes(self) -> int:
        """See `Cache`: keys and values, and what short convolutions have read."""
        read = 0 if self.inputs is None else self.inputs.nbytes
        return len(self.tokens) * cache_bytes(self._config, self.capacity, self._dtype, int8=self._int8) + read

    def layer(self, index: int) -> LayerCache:
        """The share of layer `index`."""
        inputs = None if self.inputs is None else self.inputs[index]
        return LayerCache(self._stores[index], inputs, self.length)

    def previous(self) -> torch.Tensor | None:
        """(rows, 1) the last token stored; None when there is none."""
        return self.tokens[:, self.length - 1 : self.length] if self.length else None

    def advance(self, tokens: torch.Tensor) -> None:
        """Count `tokens` (rows, length) as stored, once every layer has stored its share."""
        end = self.length + tokens.shape[1]
        self.tokens[:, self.length : end] = tokens
        self.length = end

    def crop(self, length: int) -> int:
        """See `Cache`."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot crop {self.length} cached tokens to {length}")
        if not length or not all(store.holds(length) for store in self._stores):
            length = 0
            for store in self._stores:
                store.clear()
        self.length = length
        return length

    def select(self, rows: torch.Tensor) -> None:
        """Let every row hold what another one holds, as a search does that goes on from its best beginnings.

        The keys and values of sources stay: such rows have the same one.

        Args:
            rows: (rows,) int64, from which row each takes over.
        """
        for store in self._stores:
            store.select(rows, self.length)
        if self.inputs is not None:
            self.inputs[..., : self.length, :] = self.inputs[:, :, rows, : self.length]
        self.tokens[:, : self.length] = self.tokens[rows, : self.length]

    def repeat(self, rows: int, length: int) -> KeyValueCache:
        """See `Cache`."""
        wider = KeyValueCache(self._config, rows, length, self._dtype, self.tokens.device, int8=self._int8)
        for ours, theirs in zip(self._stores, wider._stores, strict=True):
            theirs.copy_from(ours, self.length)
        if self.inputs is not None and wider.inputs is not None:
            wider.inputs[..., : self.length, :] = self.inputs[..., : self.length, :]
        wider.advance(self.tokens[:, : self.length].expand(rows, -1))
        return wider


def cache_bytes(config: CacheShape, length: int, dtype: torch.dtype, *, int8: bool = False) -> int:
    """Bytes of the keys and values of one row of `length` tokens."""
    total = 0
    for index in range(config.layers):
        rounded = int8 and not config.layer_attention(index).mix.keeps_sums
        head = config.head_width + torch.float16.itemsize if rounded else config.head_width * dtype.itemsize
        total += 2 * _room(config, index, length) * config.key_value_heads * head
    return total


def _room(config: CacheShape, index: int, length: int) -> int:
    """For how many tokens a layer needs room."""
    layer = config.layer_attention(index)
    if layer.mix.keeps_sums:
        return config.head_width
    return min(length, sliding_size(*found)) if (found := _sliding(layer)) else length


def _sliding(layer: LayerAttention) -> tuple[int, int] | None:
    """How many first and last tokens a layer looks at; None where it may look at all, or its mix wants all the keys."""
    pattern, key = CAUSAL & layer.pattern, torch.empty(1, 1, 1, 2, device="meta")
    if math.isinf(pattern.back) or layer.mix.refusal(Heads(key, key, key, pattern, skipped=1)):
        return None
    return (pattern.globals[-1] + 1 if pattern.globals else 0), int(pattern.back) + 1


def _store(
    config: CacheShape, index: int, rows: int, length: int, dtype: torch.dtype, device: torch.device | str, int8: bool
) -> Store:
    layer = config.layer_attention(index)
    if layer.mix.keeps_sums:
        return Sums((rows, config.key_value_heads, config.head_width), device)
    room, found = _room(config, index, length), _sliding(layer)

    def plain(width: int, dtype: torch.dtype) -> Store:
        shape = (rows, config.key_value_heads, room, width)
        return Sliding(shape, *found, dtype, device) if found and room < length else Whole(shape, dtype, device)

    if int8:
        return Rounded(plain(config.head_width, torch.int8), plain(1, torch.float16), dtype)
    return plain(config.head_width, dtype)
