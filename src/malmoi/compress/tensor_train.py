"""A matrix to a train of small tensors: one singular value decomposition at each joint (TT-SVD, Oseledets 2011)."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from malmoi.layers.matrices.tensor_train import TensorTrain, TensorTrainSettings, full_ranks, train_shapes


def tensor_train(weight: torch.Tensor, settings: TensorTrainSettings) -> TensorTrain:
    """(outputs, inputs) floating to the train that is left when each joint keeps its strongest directions.

    The error is at most that of the best train of these ranks times the root of the number of joints.
    """
    train = TensorTrain(weight.shape[0], weight.shape[1], settings)
    shapes = [core.shape for core in train.cores]
    rows, columns = [shape[1] for shape in shapes], [shape[2] for shape in shapes]
    length = len(shapes)
    padded = F.pad(weight.float(), (0, 0, 0, math.prod(rows) - len(weight))).view(*rows, *columns)
    left = padded.permute([digit + half for digit in range(length) for half in (0, length)])
    for number, shape in enumerate(shapes):
        left = left.reshape(math.prod(shape[:3]), -1)
        core = left
        if number < length - 1:
            directions, sizes, rest = torch.linalg.svd(left, full_matrices=False)
            core, left = directions[:, : shape[3]], sizes[: shape[3], None] * rest[: shape[3]]
        train.cores[number] = torch.nn.Parameter(core.reshape(shape).to(weight.dtype))
    return train


def largest_rank(outputs: int, inputs: int, length: int, numbers: float) -> int:
    """The greatest rank whose train has at most so many numbers; 0 where none has."""
    low, high = 0, max(full_ranks(outputs, inputs, length))
    while low < high:
        middle = (low + high + 1) // 2
        shapes = train_shapes(outputs, inputs, TensorTrainSettings(rank=middle, length=length))
        low, high = (middle, high) if sum(map(math.prod, shapes)) <= numbers else (low, middle - 1)
    return low
