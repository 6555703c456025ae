"""What generation keeps of the tokens already seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch

KeysAndValues = tuple[torch.Tensor, torch.Tensor]
"""What queries look at, both (rows, key/value heads, length, head_width)."""


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


class CacheSizes(NamedTuple):
    """The same of a stack that has no configuration of its own."""

    layers: int
    width: int
    key_value_heads: int
    head_width: int
    short_convolution: int = 0


@dataclass(frozen=True)
class LayerCache:
    """One layer's share of a `KeyValueCache`.

    Attributes:
        keys, values: (rows, key/value heads, capacity, head_width).
        inputs: (2, rows, capacity, width), what the two short convolutions have read; None without them.
        start: position of the first new token.
    """

    keys: torch.Tensor
    values: torch.Tensor
    inputs: torch.Tensor | None
    start: int

    def extend(self, key: torch.Tensor, value: torch.Tensor) -> KeysAndValues:
        """Store new keys and values (rows, key/value heads, length, head_width); give all up to now."""
        end = self.start + key.shape[2]
        self.keys[:, :, self.start : end] = key
        self.values[:, :, self.start : end] = value
        return self.keys[:, :, :end], self.values[:, :, :end]

    def extend_inputs(self, place: int, hidden: torch.Tensor, reach: int) -> torch.Tensor:
        """Store what convolution `place` reads, (rows, length, width); give it with up to `reach` steps before it."""
        assert self.inputs is not None
        end = self.start + hidden.shape[1]
        self.inputs[place, :, self.start : end] = hidden
        return self.inputs[place, :, max(self.start - reach, 0) : end]


class KeyValueCache:
    """Keys and values of every layer, preallocated; also what short convolutions and bigrams look back to.

    Everything is stored by position, so that `crop` can forget any number of the latest tokens.

    Attributes:
        length: how many tokens are stored; the position of the next one.
        capacity: how many fit.
        sources: of every layer of a decoder, the keys and values of the source, computed at the first step; empty
            before it, and where there is no source.
    """

    def __init__(
        self,
        config: CacheShape,
        rows: int,
        length: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self._config = config
        shape = (config.layers, rows, config.key_value_heads, length, config.head_width)
        self.keys = torch.empty(shape, dtype=dtype, device=device)
        self.values = torch.empty(shape, dtype=dtype, device=device)
        self.inputs = (
            torch.empty((config.layers, 2, rows, length, config.width), dtype=dtype, device=device)
            if config.short_convolution
            else None
        )
        self.tokens = torch.empty((rows, length), dtype=torch.int64, device=device)
        self.length = 0
        self.capacity = length
        self.sources: list[KeysAndValues] = []

    def layer(self, index: int) -> LayerCache:
        """The share of layer `index`."""
        inputs = None if self.inputs is None else self.inputs[index]
        return LayerCache(self.keys[index], self.values[index], inputs, self.length)

    def previous(self) -> torch.Tensor | None:
        """(rows, 1) the last token stored; None when there is none."""
        return self.tokens[:, self.length - 1 : self.length] if self.length else None

    def advance(self, tokens: torch.Tensor) -> None:
        """Count `tokens` (rows, length) as stored, once every layer has stored its share."""
        end = self.length + tokens.shape[1]
        self.tokens[:, self.length : end] = tokens
        self.length = end

    def crop(self, length: int) -> None:
        """Forget everything from position `length` on."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot crop {self.length} cached tokens to {length}")
        self.length = length

    def repeat(self, rows: int, length: int) -> KeyValueCache:
        """A cache with room for `length` tokens in each of `rows` rows, all of which hold what this one's row holds."""
        wider = KeyValueCache(self._config, rows, length, self.keys.dtype, self.keys.device)
        for ours, theirs in ((self.keys, wider.keys), (self.values, wider.values), (self.inputs, wider.inputs)):
            if ours is not None and theirs is not None:
                theirs[..., : self.length, :] = ours[..., : self.length, :]
        wider.advance(self.tokens[:, : self.length].expand(rows, -1))
        return wider
