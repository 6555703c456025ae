"""A matrix to whole numbers, each to the nearest one."""

from __future__ import annotations

import torch

from malmoi.layers.matrices import int4, int8
from malmoi.layers.matrices.int4 import Int4Matrix, Int4Settings
from malmoi.layers.matrices.int8 import Int8Matrix, Int8Settings

_SMALLEST = 2.0**-24
"""Of the positive numbers of float16."""


def int8_matrix(weight: torch.Tensor, settings: Int8Settings) -> Int8Matrix:
    """(outputs, inputs) floating to codes whose row's largest number is 127 or -127."""
    matrix = Int8Matrix(weight.shape[0], weight.shape[1], settings)
    matrix.scale.data = (weight.abs().amax(1).float() / int8.LARGEST).clamp_min(torch.finfo(torch.float32).tiny)
    matrix.round(weight)
    return matrix


def int4_matrix(weight: torch.Tensor, settings: Int4Settings) -> Int4Matrix:
    """(outputs, inputs) floating to codes from 0, for the least number of a group, to 15 for the greatest."""
    matrix = Int4Matrix(weight.shape[0], weight.shape[1], settings)
    matrix.scale.data, matrix.least.data = int4_scale(weight.float().view(len(weight), -1, settings.group))
    matrix.round(weight)
    return matrix


def int4_scale(groups: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(..., group) numbers to the scale and the least number of each group, (...) float16."""
    least, greatest = groups.amin(-1), groups.amax(-1)
    return ((greatest - least) / int4.LARGEST).half().clamp_min(_SMALLEST), least.half()
