"""Matrices of low rank, held as the product of two thin ones."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import PositiveInt
from torch import nn
from torch.nn import functional as F

from malmoi.core.errors import UserError
from malmoi.layers.compressed import CompressedLinear
from malmoi.layers.matrices.matrix import CompressedMatrix, MatrixSettings


class FactorsSettings(MatrixSettings):
    """How thin the two are.

    Attributes:
        rank: rows of the first and columns of the second.
    """

    rank: PositiveInt


class Factors(CompressedMatrix):
    """Narrow, then widen. Both learn, and both can be compressed in their turn.

    Attributes:
        narrow: inputs to rank.
        widen: rank to outputs.
    """

    first_settings: ClassVar[type[MatrixSettings]] = FactorsSettings
    settings: FactorsSettings
    narrow: nn.Linear | CompressedLinear
    widen: nn.Linear | CompressedLinear

    def __init__(self, outputs: int, inputs: int, settings: FactorsSettings) -> None:
        super().__init__(outputs, inputs)
        full = min(outputs, inputs)
        if settings.rank > full:
            raise UserError(
                f"A matrix of {outputs:,} x {inputs:,} has no rank of {settings.rank:,}.", f"Take {full:,} or less."
            )
        self.settings = settings
        self.narrow = nn.Linear(inputs, settings.rank, bias=False)
        self.widen = nn.Linear(settings.rank, outputs, bias=False)

    def dense(self) -> torch.Tensor:
        """See `CompressedMatrix`."""
        return self.widen.weight @ self.narrow.weight

    def multiply(self, hidden: torch.Tensor) -> torch.Tensor:
        """See `CompressedMatrix`; the dense matrix is not made."""
        result: torch.Tensor = self.widen(self.narrow(hidden))
        return result

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        """See `CompressedMatrix`; no other rows are made."""
        widen = self.widen
        chosen = widen.matrix.rows(index) if isinstance(widen, CompressedLinear) else F.embedding(index, widen.weight)
        return chosen @ self.narrow.weight
