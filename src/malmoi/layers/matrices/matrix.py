"""What stands in the place of a layer's weight once it is compressed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F

from malmoi.core.config import Settings


class MatrixSettings(Settings):
    """What, beside its shape, says how a compressed matrix is held."""


class CompressedMatrix(nn.Module):
    """A (outputs, inputs) matrix held in fewer numbers. A new one has its shape, and its numbers are yet to be filled.

    Attributes:
        settings: how it is held.

    Raises:
        UserError: a matrix of this shape cannot be held so.
    """

    settings: MatrixSettings
    first_settings: ClassVar[type[MatrixSettings]]

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.outputs, self.inputs = outputs, inputs

    def dense(self) -> torch.Tensor:
        """(outputs, inputs) floating, the matrix that this one stands for."""
        raise NotImplementedError

    def multiply(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., inputs) to (..., outputs), what a linear layer without bias computes."""
        return F.linear(hidden, self.dense().to(hidden.dtype))

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        """(..., inputs) floating, the rows of the matrix that `index` (...) int64 names."""
        return F.embedding(index, self.dense())


class QuantizedMatrix(CompressedMatrix):
    """A matrix of whole numbers with scales: a model that changes its type leaves those of its numbers as they are.

    Its numbers do not learn; gradients pass through to what it multiplies.
    """

    def multiply(self, hidden: torch.Tensor) -> torch.Tensor:
        """See `CompressedMatrix`; the dense matrix lives no longer than the product."""
        if torch.is_grad_enabled() and hidden.requires_grad:
            product: torch.Tensor = _Product.apply(hidden, self)  # type: ignore[no-untyped-call]
            return product
        return self.product(hidden)

    def product(self, hidden: torch.Tensor) -> torch.Tensor:
        """The fastest way to `multiply` that no gradient passes through."""
        return super().multiply(hidden)

    def round(self, numbers: torch.Tensor) -> None:
        """Take the codes nearest to `numbers`, (outputs, inputs) floating, with the scales that it has."""
        raise NotImplementedError

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        def keep_type(own: torch.Tensor) -> torch.Tensor:
            moved = fn(own)
            return moved if moved.dtype == own.dtype else own.to(moved.device)

        moved: Self = super()._apply(keep_type)  # type: ignore[no-untyped-call]
        return moved


class _Product(torch.autograd.Function):
    """A linear layer whose weight is made again for the gradient, so that it need not be kept."""

    @staticmethod
    def forward(ctx: FunctionCtx, hidden: torch.Tensor, matrix: QuantizedMatrix) -> torch.Tensor:
        ctx.matrix = matrix  # type: ignore[attr-defined]
        return F.linear(hidden, matrix.dense().to(hidden.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient,) = gradients
        return gradient @ ctx.matrix.dense().to(gradient.dtype), None
