"""What stands in the place of a layer's weight once it is compressed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self
from weakref import WeakKeyDictionary

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

    def __init__(self, outputs: int, inputs: int, settings: MatrixSettings) -> None:
        super().__init__(outputs, inputs)
        self.settings = settings

    def multiply(self, hidden: torch.Tensor) -> torch.Tensor:
        """See `CompressedMatrix`; the dense matrix lives no longer than the product."""
        if torch.is_grad_enabled() and hidden.requires_grad:
            product: torch.Tensor = _Product.apply(hidden, self)  # type: ignore[no-untyped-call]
            return product
        return self.product(hidden)

    @property
    def product_dtype(self) -> torch.dtype | None:
        """Of the numbers that `few_rows` takes and gives; None where there is no such product."""
        return None

    def few_rows(self, hidden: torch.Tensor) -> torch.Tensor:
        """(up to 16, inputs) of `product_dtype` to (as many, outputs) of the same, read from the codes themselves."""
        raise NotImplementedError

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


_WHOLES: WeakKeyDictionary[QuantizedMatrix, QuantizedMatrix] = WeakKeyDictionary()
"""What `stacked` made, by the first of the matrices."""


def stacked(matrices: Sequence[QuantizedMatrix]) -> QuantizedMatrix | None:
    """One matrix with the rows of all; None where they are not held alike.

    Nothing is held twice: the numbers of the matrices become parts of larger tensors. The next call gives the same
    one, unless numbers were replaced.
    """
    first, *others = matrices
    if not others:
        return first
    if any(type(one) is not type(first) or one.settings != first.settings for one in others):
        return None
    whole = _WHOLES.get(first)
    if whole is None or not _is_made_of(whole, matrices):
        with torch.inference_mode(False), torch.no_grad():
            whole = _WHOLES[first] = _joined(matrices)
    return whole


def _joined(matrices: Sequence[QuantizedMatrix]) -> QuantizedMatrix:
    first = matrices[0]
    whole = type(first)(sum(one.outputs for one in matrices), first.inputs, first.settings)
    for name, parameter in whole.named_parameters():
        parts = [one.get_parameter(name) for one in matrices]
        parameter.data = torch.cat([part.data for part in parts])
        for part, data in zip(parts, torch.split(parameter.data, [len(part) for part in parts]), strict=True):
            part.data = data
    return whole


def _is_made_of(whole: QuantizedMatrix, matrices: Sequence[QuantizedMatrix]) -> bool:
    """Whether the numbers of the matrices, and none besides, are those of the whole."""
    for name, parameter in whole.named_parameters():
        place = parameter.data_ptr()
        for part in (one.get_parameter(name) for one in matrices):
            if part.data_ptr() != place:
                return False
            place += part.nbytes
        if place != parameter.data_ptr() + parameter.nbytes:
            return False
    return True


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
