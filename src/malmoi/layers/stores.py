"""What one layer keeps of the tokens already seen: all of them, the latest, or a sum; numbers, or codes for them."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch


class Kept(NamedTuple):
    """What queries look at.

    Attributes:
        key, value: (rows, key/value heads, seen, head_width).
        sinks, skipped, sums: see `Heads`.
    """

    key: torch.Tensor
    value: torch.Tensor
    sinks: int = 0
    skipped: int = 0
    sums: torch.Tensor | None = None


class Store(Protocol):
    """One layer's share of a cache, without the number of tokens, which is the same for all layers."""

    def extend(self, start: int, key: torch.Tensor, value: torch.Tensor) -> Kept:
        """Store the keys and values of new tokens from position `start` on; give all that those may look at."""
        ...

    def holds(self, length: int) -> bool:
        """Whether it can go on from position `length`, when what comes later is forgotten."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def select(self, rows: torch.Tensor, length: int) -> None:
        """Take over in each row the `length` tokens of the row named, (rows,) int64."""
        ...

    def copy_from(self, other: Store, length: int) -> None:
        """Take over `length` tokens of a store of the same layer that has one row, or as many as this one."""
        ...


class Whole:
    """Every token, by its position."""

    def __init__(self, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device | str) -> None:
        """Make an empty one; `shape` is (rows, key/value heads, capacity, head_width)."""
        self.keys = torch.empty(shape, dtype=dtype, device=device)
        self.values = torch.empty(shape, dtype=dtype, device=device)

    def extend(self, start: int, key: torch.Tensor, value: torch.Tensor) -> Kept:
        """See `Store`."""
        end = start + key.shape[2]
        self.keys[:, :, start:end] = key
        self.values[:, :, start:end] = value
        return Kept(self.keys[:, :, :end], self.values[:, :, :end])

    def holds(self, length: int) -> bool:
        """See `Store`."""
        return True

    def clear(self) -> None:
        """See `Store`."""

    def select(self, rows: torch.Tensor, length: int) -> None:
        """See `Store`."""
        for kept in (self.keys, self.values):
            kept[:, :, :length] = kept[rows, :, :length]

    def copy_from(self, other: Store, length: int) -> None:
        """See `Store`."""
        assert isinstance(other, Whole)
        self.extend(0, other.keys[:, :, :length], other.values[:, :, :length])


class Sliding:
    """The first `sinks` tokens and the last ones, as many as a window reaches back: its size does not grow.

    The last ones stand in their order, with some room behind; when that is used up, they move to the front. The room
    also lets a few tokens be forgotten again.
    """

    def __init__(
        self,
        shape: tuple[int, int, int, int],
        sinks: int,
        reach: int,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        """Make an empty one.

        Args:
            shape: (rows, key/value heads, `sliding_size(sinks, reach)`, head_width).
            reach: how many tokens a query looks back at, itself among them.
        """
        self.keys = torch.empty(shape, dtype=dtype, device=device)
        self.values = torch.empty(shape, dtype=dtype, device=device)
        self.sinks, self.reach = sinks, reach
        self._first = sinks

    def extend(self, start: int, key: torch.Tensor, value: torch.Tensor) -> Kept:
        """See `Store`."""
        end = start + key.shape[2]
        skipped = self._first - self.sinks
        if end - skipped <= self.keys.shape[2]:
            self.keys[:, :, start - skipped : end - skipped] = key
            self.values[:, :, start - skipped : end - skipped] = value
            return self._kept(self.keys[:, :, : end - skipped], self.values[:, :, : end - skipped], self._first)
        first = max(self._first, start - self.reach + 1)
        near = [self._near(old, start, first, new) for old, new in ((self.keys, key), (self.values, value))]
        kept = self._kept(near[0], near[1], first)
        self._first = max(self.sinks, end - self.reach)  # one more than needed: the last token may be asked for again
        for old, whole in ((self.keys, near[0]), (self.values, near[1])):
            last = whole[:, :, whole.shape[2] - (end - self._first) :]
            old[:, :, : self.sinks] = whole[:, :, : self.sinks]
            old[:, :, self.sinks : self.sinks + last.shape[2]] = last
        return kept

    def holds(self, length: int) -> bool:
        """See `Store`."""
        return self._first <= max(self.sinks, length - self.reach + 1)

    def clear(self) -> None:
        """See `Store`."""
        self._first = self.sinks

    def select(self, rows: torch.Tensor, length: int) -> None:
        """See `Store`."""
        self.keys, self.values = self.keys[rows], self.values[rows]

    def copy_from(self, other: Store, length: int) -> None:
        """See `Store`."""
        if isinstance(other, Whole):
            rows = len(self.keys)
            self.extend(0, *(one[:, :, :length].expand(rows, -1, -1, -1) for one in (other.keys, other.values)))
            return
        assert isinstance(other, Sliding)
        self._first = other._first
        for ours, theirs in ((self.keys, other.keys), (self.values, other.values)):
            ours[:, :, : theirs.shape[2]] = theirs

    def _near(self, old: torch.Tensor, start: int, first: int, new: torch.Tensor) -> torch.Tensor:
        """The sinks, the last tokens from position `first` on, and the new ones."""
        skipped = self._first - self.sinks
        known = min(start, self.sinks)
        return torch.cat([old[:, :, :known], old[:, :, first - skipped : start - skipped], new], 2)

    def _kept(self, key: torch.Tensor, value: torch.Tensor, first: int) -> Kept:
        return Kept(key, value, self.sinks, first - self.sinks)


def sliding_size(sinks: int, reach: int) -> int:
    """Tokens for which a `Sliding` store has room."""
    return sinks + reach + max(32, reach // 4)


LARGEST = 127
"""Of the codes of a `Rounded` store."""


class Rounded:
    """Keys and values as whole numbers from -127 to 127, with a scale for each head of each token.

    New tokens are rounded before they are looked at, so that a text read at once and one read in parts give the same.
    """

    def __init__(self, codes: Store, scales: Store, dtype: torch.dtype) -> None:
        """Make an empty one.

        Args:
            codes: of int8.
            scales: alike, of float16 and one number wide.
            dtype: of the keys and values that are given.
        """
        self.codes, self.scales, self._dtype = codes, scales, dtype

    def extend(self, start: int, key: torch.Tensor, value: torch.Tensor) -> Kept:
        """See `Store`."""
        (key, key_scale), (value, value_scale) = _rounded(key), _rounded(value)
        codes, scales = self.codes.extend(start, key, value), self.scales.extend(start, key_scale, value_scale)
        return codes._replace(
            key=codes.key.to(self._dtype) * scales.key.to(self._dtype),
            value=codes.value.to(self._dtype) * scales.value.to(self._dtype),
        )

    def holds(self, length: int) -> bool:
        """See `Store`."""
        return self.codes.holds(length)

    def clear(self) -> None:
        """See `Store`."""
        self.codes.clear()
        self.scales.clear()

    def select(self, rows: torch.Tensor, length: int) -> None:
        """See `Store`."""
        self.codes.select(rows, length)
        self.scales.select(rows, length)

    def copy_from(self, other: Store, length: int) -> None:
        """See `Store`."""
        assert isinstance(other, Rounded)
        self.codes.copy_from(other.codes, length)
        self.scales.copy_from(other.scales, length)


def _rounded(heads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(..., head_width) floating to codes and (..., 1) float16 scales."""
    size = heads.detach().float().abs().amax(-1, keepdim=True)
    scale = (size / LARGEST).clamp_min(torch.finfo(torch.float16).smallest_normal).half()
    return (heads / scale).round().clamp(-LARGEST, LARGEST).to(torch.int8), scale


class Sums:
    """No token at all, but a sum over those of linear attention."""

    def __init__(self, shape: tuple[int, int, int], device: torch.device | str) -> None:
        """Make an empty one; `shape` is (rows, key/value heads, head_width)."""
        self.sums = torch.zeros(*shape, shape[-1] + 1, device=device)
        self._count = 0

    def extend(self, start: int, key: torch.Tensor, value: torch.Tensor) -> Kept:
        """See `Store`; who looks adds the new tokens to the sums."""
        self._count = start + key.shape[2]
        return Kept(key, value, sums=self.sums)

    def holds(self, length: int) -> bool:
        """See `Store`."""
        return length == self._count

    def clear(self) -> None:
        """See `Store`."""
        self._count = 0
        self.sums.zero_()

    def select(self, rows: torch.Tensor, length: int) -> None:
        """See `Store`."""
        self.sums = self.sums[rows]

    def copy_from(self, other: Store, length: int) -> None:
        """See `Store`."""
        assert isinstance(other, Sums)
        self._count = other._count
        self.sums.copy_(other.sums.expand_as(self.sums))
