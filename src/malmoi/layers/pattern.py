"""What an attention pattern is, and how two of them are combined."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

Reach = int | float
"""A number of tokens, or math.inf."""


class Pattern:
    """Says which keys a query may look at; patterns are combined with & (both allow) and | (one of them allows).

    Attributes:
        back, ahead: how many tokens before and after itself a query looks at most, `globals` left aside.
        globals: positions that every query may look at and that may look at every key, in rising order.
        sees_itself: every query may look at its own key, so that no row is without any.
        moves: only the distance of query and key counts, `globals` left aside, so that it looks the same everywhere.
        needs_documents: `allows` has to be told which document each token belongs to.
    """

    back: Reach = math.inf
    ahead: Reach = math.inf
    sees_itself: bool = True
    needs_documents: bool = False
    moves: bool = False

    @property
    def globals(self) -> tuple[int, ...]:
        """See the class."""
        return ()

    def allows(self, query: torch.Tensor, key: torch.Tensor, documents: torch.Tensor | None = None) -> torch.Tensor:
        """Whether each query may look at each key.

        Args:
            query, key: int64 positions, of as many dimensions each, and of shapes that broadcast.
            documents: (..., positions) int64, the document that each position belongs to.

        Returns:
            boolean, of the shape to which `query` and `key` broadcast, behind the first dimensions of `documents`.

        Raises:
            UserError: the pattern needs `documents`, and there are none.
        """
        raise NotImplementedError

    def dense(
        self, length: int, seen: int, device: torch.device | None = None, documents: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(length, seen) boolean mask of the last `length` of `seen` positions, the reference for every mix."""
        keys = torch.arange(seen, device=device)
        allowed = self.allows(keys[seen - length :, None], keys[None], documents)
        return allowed.expand(*allowed.shape[:-2], length, seen)

    def largest(self) -> int:
        """The largest number of tokens or position that the pattern names; a shorter text has no use for it."""
        return 0

    def __and__(self, other: Pattern) -> Pattern:
        if isinstance(self, Full) or isinstance(other, Full):
            return other if isinstance(self, Full) else self
        return Both(self, other)

    def __or__(self, other: Pattern) -> Pattern:
        return Either(self, other)


@dataclass(frozen=True)
class Full(Pattern):
    """Everything."""

    moves = True

    def allows(self, query: torch.Tensor, key: torch.Tensor, documents: torch.Tensor | None = None) -> torch.Tensor:
        return query == query + 0 * key

    def __str__(self) -> str:
        return "full"


@dataclass(frozen=True)
class _Pair(Pattern):
    left: Pattern
    right: Pattern

    @property
    def globals(self) -> tuple[int, ...]:
        """See `Pattern`."""
        return tuple(sorted({*self.left.globals, *self.right.globals}))

    @property
    def moves(self) -> bool:  # type: ignore[override]
        """See `Pattern`."""
        return self.left.moves and self.right.moves

    @property
    def needs_documents(self) -> bool:  # type: ignore[override]
        """See `Pattern`."""
        return self.left.needs_documents or self.right.needs_documents

    def largest(self) -> int:
        return max(self.left.largest(), self.right.largest())


@dataclass(frozen=True)
class Both(_Pair):
    """What both patterns allow."""

    @property
    def back(self) -> Reach:  # type: ignore[override]
        """See `Pattern`."""
        return min(self.left.back, self.right.back)

    @property
    def ahead(self) -> Reach:  # type: ignore[override]
        """See `Pattern`."""
        return min(self.left.ahead, self.right.ahead)

    @property
    def sees_itself(self) -> bool:  # type: ignore[override]
        """See `Pattern`."""
        return self.left.sees_itself and self.right.sees_itself

    def allows(self, query: torch.Tensor, key: torch.Tensor, documents: torch.Tensor | None = None) -> torch.Tensor:
        return self.left.allows(query, key, documents) & self.right.allows(query, key, documents)

    def __str__(self) -> str:
        return " & ".join(f"({one})" if isinstance(one, Either) else str(one) for one in (self.left, self.right))


@dataclass(frozen=True)
class Either(_Pair):
    """What one of two patterns allows."""

    @property
    def back(self) -> Reach:  # type: ignore[override]
        """See `Pattern`."""
        return max(self.left.back, self.right.back)

    @property
    def ahead(self) -> Reach:  # type: ignore[override]
        """See `Pattern`."""
        return max(self.left.ahead, self.right.ahead)

    @property
    def sees_itself(self) -> bool:  # type: ignore[override]
        """See `Pattern`."""
        return self.left.sees_itself or self.right.sees_itself

    def allows(self, query: torch.Tensor, key: torch.Tensor, documents: torch.Tensor | None = None) -> torch.Tensor:
        return self.left.allows(query, key, documents) | self.right.allows(query, key, documents)

    def __str__(self) -> str:
        return f"{self.left} | {self.right}"


FULL = Full()
