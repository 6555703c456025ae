"""Matrices held as a train of small tensors (Oseledets 2011, doi:10.1137/090752286; Novikov and others 2015,
arXiv:1509.06569; for embeddings Hrinchuk and others 2020, arXiv:1901.10787)."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import nn

from malmoi.core.errors import UserError
from malmoi.layers.matrices.matrix import CompressedMatrix, MatrixSettings

_FEW = 16
"""Rows up to which it is cheaper to go through the train than to make the dense matrix once."""


class TensorTrainSettings(MatrixSettings):
    """How long and how thick the train is.

    Attributes:
        rank: most numbers by which two neighbours know of each other.
        length: how many tensors there are.
    """

    rank: PositiveInt
    length: Annotated[int, Field(ge=2, le=6)] = 3


class TensorTrain(CompressedMatrix):
    """The number in row i and column j is a product of small matrices, one a tensor, chosen by the digits of i and j.

    Rows and columns are counted in digits of mixed bases, the first digit being the greatest.

    Attributes:
        cores: see `train_shapes`; floating, and they learn.
    """

    first_settings: ClassVar[type[MatrixSettings]] = TensorTrainSettings
    settings: TensorTrainSettings

    def __init__(self, outputs: int, inputs: int, settings: TensorTrainSettings) -> None:
        super().__init__(outputs, inputs)
        self.settings = settings
        joints = full_ranks(outputs, inputs, settings.length)
        if settings.rank > max(joints):
            raise UserError(
                f"A train of {settings.length} for a matrix of {outputs:,} x {inputs:,} has no rank of "
                f"{settings.rank:,}.",
                f"Take {max(joints):,} or less.",
            )
        shapes = train_shapes(outputs, inputs, settings)
        self.row_bases = [rows for _, rows, _, _ in shapes]
        self.cores = nn.ParameterList(nn.Parameter(torch.empty(shape)) for shape in shapes)

    def dense(self) -> torch.Tensor:
        """See `CompressedMatrix`."""
        return self._table(list(self.cores))[: self.outputs, :, 0]

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        """See `CompressedMatrix`; no other rows are made, and none twice."""
        asked, place = torch.unique(index, return_inverse=True)
        *earlier, last = self.cores
        if len(asked) > _FEW:
            made = self._table(earlier)[asked // self.row_bases[-1]]
        else:
            made = last.new_ones(len(asked), 1, 1)
            for core, digit in zip(earlier, self._digits(asked), strict=False):
                made = torch.einsum("bjr,brns->bjns", made, core[:, digit].movedim(1, 0)).flatten(1, 2)
        chosen = last[:, asked % self.row_bases[-1], :, 0].movedim(1, 0)
        result: torch.Tensor = (made @ chosen).flatten(1)[place]
        return result

    def multiply(self, hidden: torch.Tensor) -> torch.Tensor:
        """See `CompressedMatrix`; for few rows the dense matrix is not made."""
        flat = hidden.reshape(-1, self.inputs)
        if len(flat) > _FEW:
            return super().multiply(hidden)
        left = flat.view(len(flat), 1, 1, self.inputs)  # rows, outputs so far, rank, inputs still to come
        for core in self.cores:
            split = left.view(*left.shape[:3], core.shape[2], -1)
            left = torch.einsum("birnj,rmns->bimsj", split, core.to(flat.dtype)).flatten(1, 2)
        return left[:, : self.outputs, 0, 0].view(*hidden.shape[:-1], self.outputs)

    @staticmethod
    def _table(cores: list[torch.Tensor]) -> torch.Tensor:
        """(products of row bases, products of column bases, rank behind), the first of the train multiplied out."""
        made = cores[0].new_ones(1, 1, 1)
        for core in cores:
            made = torch.einsum("ijr,rmns->imjns", made, core).flatten(2, 3).flatten(0, 1)
        return made

    def _digits(self, index: torch.Tensor) -> list[torch.Tensor]:
        digits = []
        for base in reversed(self.row_bases):
            digits.append(index % base)
            index = index // base
        return digits[::-1]


def train_shapes(outputs: int, inputs: int, settings: TensorTrainSettings) -> list[tuple[int, int, int, int]]:
    """Shapes of the cores: (rank before, row base, column base, rank behind). The train has the sum of their products.

    Row bases multiply to the outputs or a little more, column bases to the inputs.
    """
    length = settings.length
    ranks = [1, *(min(settings.rank, full) for full in full_ranks(outputs, inputs, length)), 1]
    return list(zip(ranks, bases(outputs, length), divisors(inputs, length), ranks[1:], strict=False))


def full_ranks(outputs: int, inputs: int, length: int) -> list[int]:
    """The rank at each joint at which nothing is lost."""
    sizes = [rows * columns for rows, columns in zip(bases(outputs, length), divisors(inputs, length), strict=True)]
    return [min(math.prod(sizes[:joint]), math.prod(sizes[joint:])) for joint in range(1, length)]


def bases(number: int, length: int) -> list[int]:
    """So many factors, nearly equal, whose product is `number` or a little more, the smallest first."""
    factors: list[int] = []
    for left in range(length, 0, -1):
        rest = -(-number // math.prod(factors))
        factors.append(next(base for base in range(1, rest + 1) if base**left >= rest))
    return sorted(factors)


def divisors(number: int, length: int) -> list[int]:
    """So many factors whose product is `number`, as equal as its divisors let them be, the smallest first."""
    factors: list[int] = []
    for left in range(length, 1, -1):
        rest = number // math.prod(factors)
        equal = rest ** (1 / left)
        possible = (one for one in range(1, rest + 1) if rest % one == 0)
        factors.append(min(possible, key=lambda one: abs(math.log(one / equal))))
    return sorted([*factors, number // math.prod(factors)])
