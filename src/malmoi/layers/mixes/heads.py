"""What a mix is given, and what it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

import torch

from malmoi.layers.pattern import FULL, Pattern
from malmoi.layers.patterns import CAUSAL


@dataclass(frozen=True)
class Heads:
    """Queries, and what they may look at.

    Attributes:
        query: (rows, heads, length, head_width).
        key, value: (rows, key_value_heads, seen, head_width).
        pattern: who may look at whom. The last query stands at the position of the last key but `later`.
        real: (rows, seen) boolean, True where a key is a token and no padding.
        documents: (rows, positions) int64, the document of each position, for patterns that ask for it.
        bias: (heads, length, seen), added to the products.
        scale: of the products; 1 / sqrt(head_width) by default.
        dropout: of the attention weights.
        sinks: how many first positions are among the keys whatever was forgotten.
        skipped: how many positions behind them were forgotten, so that key number `sinks` is that of position
            `sinks + skipped`.
        training: new random numbers are wanted each time.
        sums: of the tokens before, for a mix that keeps no keys: (rows, key_value_heads, head_width, head_width + 1),
            updated in place.
        later: how many of the keys are of positions behind the last query.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    pattern: Pattern = FULL
    real: torch.Tensor | None = None
    documents: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    scale: float | None = None
    dropout: float = 0.0
    sinks: int = 0
    skipped: int = 0
    training: bool = False
    sums: torch.Tensor | None = None
    later: int = 0

    @property
    def length(self) -> int:
        """Number of queries."""
        return self.query.shape[2]

    @property
    def seen(self) -> int:
        """Number of keys."""
        return self.key.shape[2]

    @property
    def start(self) -> int:
        """Position of the first query."""
        return self.seen + self.skipped - self.length - self.later

    @property
    def factor(self) -> float:
        """What products are multiplied with."""
        return self.query.shape[3] ** -0.5 if self.scale is None else self.scale

    @property
    def wants_gradient(self) -> bool:
        """Whether something will ask for gradients."""
        return torch.is_grad_enabled() and any(one.requires_grad for one in (self.query, self.key, self.value))

    @property
    def may_be_blind(self) -> bool:
        """Whether a query may find no key at all."""
        return not self.pattern.sees_itself or (self.real is not None and self.pattern not in (FULL, CAUSAL))

    def key_positions(self) -> torch.Tensor:
        """(seen,) int64, rising."""
        positions = torch.arange(self.seen, device=self.key.device)
        return positions + self.skipped * (positions >= self.sinks) if self.skipped else positions

    def allowed(self, query: torch.Tensor, key: torch.Tensor, keys: torch.Tensor | slice) -> torch.Tensor:
        """(queries, keys) boolean, or (rows, queries, keys) where rows differ.

        Args:
            query: (queries,) int64 positions.
            key: (keys,) int64 positions.
            keys: which of the keys those are.
        """
        allowed = self.pattern.allows(query[:, None], key[None], self.documents)
        return allowed if self.real is None else allowed & self.real[:, None, keys]

    def mask(self) -> torch.Tensor | None:
        """(length, seen) or (rows, 1, length or 1, seen) boolean, True where a query may look; None for everywhere."""
        if self.pattern == FULL:
            return None if self.real is None else self.real[:, None, None]
        keys = self.key_positions()
        queries = torch.arange(self.start, self.start + self.length, device=self.query.device)
        allowed = self.allowed(queries, keys, slice(None))
        return allowed if allowed.dim() == 2 else allowed[:, None]


class Mix(ABC):
    """A way to compute attention. Subclasses are frozen dataclasses whose fields are its numbers.

    Attributes:
        exact: gives what dense masked attention gives.
        shares_keys: wants keys that are the queries of the same tokens.
        keeps_sums: keeps sums instead of keys while it generates.
    """

    exact: ClassVar[bool] = True
    shares_keys: ClassVar[bool] = False
    keeps_sums: ClassVar[bool] = False

    @abstractmethod
    def refusal(self, heads: Heads) -> str:
        """What of `heads` it cannot do, such as "a bias"; "" where it can do all."""

    @abstractmethod
    def __call__(self, heads: Heads) -> torch.Tensor:
        """(rows, heads, length, head_width); zeros where a query may look at nothing."""

    def __str__(self) -> str:
        numbers = fields(self)  # type: ignore[arg-type]
        given = [f"{field.name}={getattr(self, field.name)}" for field in numbers if not _is_default(self, field.name)]
        return type(self).__name__.lower() + (f"({', '.join(given)})" if given else "")


def _is_default(mix: Mix, name: str) -> bool:
    default = next(field.default for field in fields(mix) if field.name == name)  # type: ignore[arg-type]
    return bool(getattr(mix, name) == default)
