"""Attention patterns: who may look at whom. A pattern gives the mask that every way to compute it must agree with."""

from __future__ import annotations

import operator
from dataclasses import dataclass, fields
from functools import reduce

import torch

from malmoi.core.errors import UserError
from malmoi.layers.pattern import Pattern, Reach


@dataclass(frozen=True)
class Causal(Pattern):
    """Nothing that comes later."""

    moves = True

    @property
    def ahead(self) -> Reach:  # type: ignore[override]
        """See `Pattern`."""
        return 0

    def allows(self, query: torch.Tensor, key: torch.Tensor, documents: torch.Tensor | None = None) -> torch.Tensor:
        return key <= query

    def __str__(self) -> str:
        return "causal"


class _Sized(Pattern):
    """A pattern with numbers: checks that they are at least 1, and writes itself with them."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            if getattr(self, field.name) < 1:
                raise UserError(f"{self}: {field.name} must be at least 1.", self.least)

    least = "Choose 1 or more."

    def largest(self) -> int:
        return max(int(getattr(self, field.name)) for field in fields(self))  # type: ignore[arg-type]

    def __str__(self) -> str:
        first, *others = fields(self)  # type: ignore[arg-type]
        numbers = [str(getattr(self, first.name))]
        numbers += [f"{f.name}={getattr(self, f.name)}" for f in others if getattr(self, f.name) != f.default]
        return f"{type(self).__name__.lower()}({', '.join(numbers)})"


@dataclass(frozen=True)
class Window(_Sized):
    """Keys less than `size` tokens away, the token itself among the `size`; with `dilation` every so many-th of them.

    With causality that is the last `size` tokens (Beltagy and others 2020, Longformer, arXiv:2004.05150).
    """

    size: int
    dilation: int = 1
    moves = True
    least = "A window counts the token itself, so 1 is the least."

    @property
    def back(self) -> Reach:  # type: ignore[override]
        """See `Pattern`."""
        return (self.size - 1) * self.dilation

    @property
    def ahead(self) -> Reach:  # type: ignore[override]
        """See `Pattern`."""
        return self.back

    def allows(self, query: torch.Tensor, key: torch.Tensor, documents: torch.Tensor | None = None) -> torch.Tensor:
        distance = (query - key).abs()
        near = distance <= self.back
        return near if self.dilation == 1 else near & (distance % self.dilation == 0)

    def largest(self) -> int:
        return int(self.back) + 1


@dataclass(frozen=True)
class Stride(_Sized):
    """Keys a multiple of `size` tokens away: the column of a grid whose rows are `size` long.

    The second head of the strided Sparse Transformer (Child and others 2019, arXiv:1904.10509), and the columns of
    axial attention (Ho and others 2019, arXiv:1912.12180).
    """

    size: int
    moves = True

    def allows(self, query: torch.Tensor, key: torch.Tensor, documents: torch.Tensor | None = None) -> torch.Tensor:
        return (query - key) % self.size == 0


@dataclass(frozen=True)
class Blocks(_Sized):
    """Keys of the same block of `size` tokens: the row of a grid."""

    size: int

    @property
    def back(self) -> Reach:  # type: ignore[override]
        """See `Pattern`."""
        return self.size - 1

    @property
    def ahead(self) -> Reach:  # type: ignore[override]
        """See `Pattern`."""
        return self.size - 1

    def allows(self, query: torch.Tensor, key: torch.Tensor, documents: torch.Tensor | None = None) -> torch.Tensor:
        return query // self.size == key // self.size


@dataclass(frozen=True)
class Fixed(_Sized):
    """The last `summary` keys of every block of `size` tokens, which sum it up for all that follows.

    The second head of the fixed Sparse Transformer (Child and others 2019, arXiv:1904.10509).
    """

    size: int
    summary: int = 1
    sees_itself = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.summary > self.size:
            raise UserError(f"{self}: a block of {self.size} has no {self.summary} last tokens.", "Choose fewer.")

    def allows(self, query: torch.Tensor, key: torch.Tensor, documents: torch.Tensor | None = None) -> torch.Tensor:
        return key % self.size + 0 * query >= self.size - self.summary


@dataclass(frozen=True)
class Global(Pattern):
    """Some positions look at everything and are looked at by everything (Longformer, arXiv:2004.05150, section 3.1).

    Attributes:
        positions: rising.
    """

    positions: tuple[int, ...]
    moves = True
    back = 0
    ahead = 0
    sees_itself = False

    def __post_init__(self) -> None:
        if not self.positions or self.positions[0] < 0:
            raise UserError(f"{self} names no positions, or one below 0.", "Name some, such as global(0).")
        if any(one >= other for one, other in zip(self.positions, self.positions[1:], strict=False)):
            raise UserError(f"{self}: the positions do not rise.", "Sort them, and name each once.")

    @property
    def globals(self) -> tuple[int, ...]:
        """See `Pattern`."""
        return self.positions

    def allows(self, query: torch.Tensor, key: torch.Tensor, documents: torch.Tensor | None = None) -> torch.Tensor:
        return self._named(query) | self._named(key)

    def _named(self, places: torch.Tensor) -> torch.Tensor:
        return reduce(operator.or_, (places == position for position in self.positions))

    def largest(self) -> int:
        return self.positions[-1] + 1

    def __str__(self) -> str:
        return f"global({', '.join(map(str, self.positions))})"


@dataclass(frozen=True)
class Documents(Pattern):
    """Keys of the same document; which one each token belongs to is known only when there is a text."""

    needs_documents = True

    def allows(self, query: torch.Tensor, key: torch.Tensor, documents: torch.Tensor | None = None) -> torch.Tensor:
        if documents is None:
            raise UserError(
                "The pattern 'documents' was not told which document each token belongs to.",
                "Give the model the id of the token that begins a document, as separator, or leave the pattern out.",
            )
        if documents.dim() == 1:
            return documents[query] == documents[key]
        return documents[..., query] == documents[..., key]

    def __str__(self) -> str:
        return "documents"


CAUSAL = Causal()
