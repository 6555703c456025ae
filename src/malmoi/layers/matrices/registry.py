"""The ways to hold a matrix in fewer numbers, one line each."""

from __future__ import annotations

from typing import Any

from malmoi.core.config import parse_settings
from malmoi.core.errors import UserError, nearest
from malmoi.layers.matrices.factors import Factors
from malmoi.layers.matrices.int4 import Int4Matrix
from malmoi.layers.matrices.int8 import Int8Matrix
from malmoi.layers.matrices.matrix import CompressedMatrix
from malmoi.layers.matrices.tensor_train import TensorTrain

MATRICES: dict[str, Any] = {
    "int8": Int8Matrix,
    "int4": Int4Matrix,
    "factors": Factors,
    "tensor-train": TensorTrain,
}
"""Name to class, whose constructor takes outputs, inputs and settings."""


def matrix_name(matrix: CompressedMatrix) -> str:
    """The name of a matrix's class."""
    return next(name for name, kind in MATRICES.items() if type(matrix) is kind)


def empty_matrix(name: str, outputs: int, inputs: int, settings: dict[str, Any], where: str) -> CompressedMatrix:
    """A matrix of a kind, yet to be filled.

    Args:
        where: who asks for it, for messages.

    Raises:
        UserError: there is no such kind, a setting is wrong, or a matrix of this shape cannot be held so.
    """
    if name not in MATRICES:
        way_out = nearest(name, MATRICES) or f"Known: {', '.join(MATRICES)}."
        raise UserError(f"{where}: no matrix is held as {name!r}.", way_out)
    kind = MATRICES[name]
    matrix: CompressedMatrix = kind(outputs, inputs, parse_settings(kind.first_settings, settings, where))
    return matrix
