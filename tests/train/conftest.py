"""A training that is over in a moment: a straight line through points, with dropout so that chance takes part."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from malmoi.data.batch import Batch
from malmoi.objectives.objective import Loss
from malmoi.train.samples import NO_SAMPLES
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer


@dataclass(frozen=True)
class Points(Batch):
    """inputs: (rows, 4) float32; outputs: (rows, 1) float32."""

    inputs: torch.Tensor
    outputs: torch.Tensor


class Line:
    """`rows` points a step, in `len(rows)` micro-batches of unequal size; step `spoiled` has an infinite one."""

    def __init__(self, rows: tuple[int, ...] = (8,), spoiled: range = range(0)) -> None:
        self.rows, self.spoiled = rows, spoiled

    def batch(self, step: int, slot: int) -> Points:
        generator = torch.Generator().manual_seed(step)
        inputs = torch.randn(sum(self.rows), 4, generator=generator).split(self.rows)[slot]
        outputs = inputs.sum(1, keepdim=True) * (float("inf") if step in self.spoiled else 1)
        return Points(inputs, outputs)

    def validation(self) -> Iterator[Points]:
        for rows in (5, 3):
            generator = torch.Generator().manual_seed(-rows)
            inputs = torch.randn(rows, 4, generator=generator)
            yield Points(inputs, inputs.sum(1, keepdim=True))


class Squares:
    """Squared error, summed over rows."""

    def loss(self, model: nn.Module, batch: Points) -> Loss:
        errors = (model(batch.inputs) - batch.outputs).square().sum(1)
        return Loss(errors.sum(), torch.tensor(len(errors)), {"close": (errors < 1).sum()})


def small_model(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(dropout), nn.Linear(8, 1))


@pytest.fixture
def line() -> type[Line]:
    """The source of points."""
    return Line


@pytest.fixture
def make_trainer(tmp_path):
    """Makes a trainer with a new model of the same first weights at every call."""

    def make(source=None, dropout=0.0, directory: Path = tmp_path, frozen=(), samples=NO_SAMPLES, **changes) -> Trainer:
        settings = {"steps": 12, "optimizer": "adamw", "precision": "float32", "clip": 1.0} | changes
        model = small_model(dropout)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name not in frozen)
        return Trainer(model, Squares(), source or Line(), TrainerSettings(**settings), directory, samples)

    return make
