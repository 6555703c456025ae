"""Codes that learn: a model computes with rounded numbers and changes those behind them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from malmoi.core.errors import UserError
from malmoi.layers.compressed import compressed_layers
from malmoi.layers.matrices.matrix import CompressedMatrix, QuantizedMatrix


class LearningMatrix(CompressedMatrix):
    """A quantized matrix in training (Jacob and others 2018, arXiv:1712.05877). Its scales stay.

    Attributes:
        rounded: what it computes with, and what is left of it in the end.
        numbers: (outputs, inputs) float32, which learn; rounding passes their gradient through as if it did nothing.
    """

    def __init__(self, rounded: QuantizedMatrix) -> None:
        super().__init__(rounded.outputs, rounded.inputs)
        self.rounded = rounded
        self.numbers = nn.Parameter(rounded.dense())

    def dense(self) -> torch.Tensor:
        """See `CompressedMatrix`; the rounded numbers."""
        numbers = self.numbers.detach()
        self.rounded.round(numbers)
        return self.numbers + (self.rounded.dense() - numbers)


@contextmanager
def codes_learn(model: nn.Module) -> Iterator[None]:
    """Let the codes of all quantized layers learn until the end of the block, in place.

    Raises:
        UserError: there are no such layers.
    """
    held = [(layer, layer.matrix) for layer in compressed_layers(model).values()]
    learning = [(layer, LearningMatrix(matrix)) for layer, matrix in held if isinstance(matrix, QuantizedMatrix)]
    if not learning:
        raise UserError("The model has no layer of whole numbers whose codes could learn.", "Leave recover_codes out.")
    for layer, matrix in learning:
        layer.matrix = matrix
    try:
        yield
    finally:
        for layer, matrix in learning:
            matrix.rounded.round(matrix.numbers.detach())
            layer.matrix = matrix.rounded
