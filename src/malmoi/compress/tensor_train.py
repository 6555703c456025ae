"""A matrix to a train of small tensors: one singular value decomposition at each joint (TT-SVD, Oseledets 2011)."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from malmoi.layers.matrices.tensor_train import TensorTrain, TensorTrainSettings, full_ranks, train_shapes


def tensor_train(weight: torch.Tensor, settings: TensorTrainSettings, worth: torch.Tensor | None = None) -> TensorTrain:
    """(outputs, inputs) floating to the train that is left when each joint keeps its strongest directions.

    The error is at most that of the best train of these ranks times the root of the number of joints. All tensors are
    about as large, so that one learning rate suits them.

    Args:
        worth: (outputs,) of an error in a row, such as how often it is asked for. Rows with the same first digit count
            alike, by their mean, since the first tensor can take that back.
    """
    train = TensorTrain(weight.shape[0], weight.shape[1], settings)
    shapes = [core.shape for core in train.cores]
    rows, columns = [shape[1] for shape in shapes], [shape[2] for shape in shapes]
    length = len(shapes)
    scale = _of_first_digits(weight.new_ones(len(weight)) if worth is None else worth.to(weight.device), rows)
    padded = _padded(weight.float(), rows) * scale[:, None]
    left = padded.view(*rows, *columns).permute([digit + half for digit in range(length) for half in (0, length)])
    cores, strengths = [], []
    for shape in shapes[:-1]:
        directions, sizes, rest = torch.linalg.svd(left.reshape(math.prod(shape[:3]), -1), full_matrices=False)
        left = sizes[: shape[3], None] * rest[: shape[3]]
        cores.append(directions[:, : shape[3]].reshape(shape))
        strengths.append(sizes[: shape[3]].clamp_min(_NOTHING * float(sizes[0]) or 1))
    cores.append(left.reshape(shapes[-1]))
    cores[0] = cores[0] / scale[:, None, None]
    for number, strength in enumerate(strengths):
        moved = strength ** ((number + 1) / length)
        cores[number] = cores[number] * moved
        cores[number + 1] = cores[number + 1] / moved[:, None, None, None]
    for number, core in enumerate(cores):
        train.cores[number] = torch.nn.Parameter(core.to(weight.dtype))
    return train


_NOTHING = 1e-6
"""Share of the strongest direction below which one is only rounding."""


def _padded(values: torch.Tensor, rows: list[int]) -> torch.Tensor:
    """(outputs, n) to (first base, all that it counts * n), zeros behind the last."""
    return F.pad(values, (0, 0, 0, math.prod(rows) - len(values))).view(rows[0], -1)


def _of_first_digits(worth: torch.Tensor, rows: list[int]) -> torch.Tensor:
    """(first base,) the root of the mean worth of the rows that begin with each digit; 1 for those that no row has."""
    worth = worth.float()[:, None]
    count = _padded(torch.ones_like(worth), rows).sum(1)
    mean = _padded(worth, rows).sum(1) / count
    return torch.where(count > 0, mean, 1.0).sqrt()


def largest_rank(outputs: int, inputs: int, length: int, numbers: float) -> int:
    """The greatest rank whose train has at most so many numbers; 0 where none has."""
    low, high = 0, max(full_ranks(outputs, inputs, length))
    while low < high:
        middle = (low + high + 1) // 2
        shapes = train_shapes(outputs, inputs, TensorTrainSettings(rank=middle, length=length))
        low, high = (middle, high) if sum(map(math.prod, shapes)) <= numbers else (low, middle - 1)
    return low
