"""Several classes at once, and numbers, are learned as sums over rows."""

import pytest
import torch
from torch.nn import functional as F

from malmoi.data.batch import LabelledBatch
from malmoi.objectives.multi_label import MultiLabel
from malmoi.objectives.regression import Regression

SCORES = torch.tensor([[2.0, -1.0], [0.5, 0.5], [-1.0, 3.0]])


def batch(labels) -> LabelledBatch:
    return LabelledBatch(torch.zeros(3, 1, dtype=torch.int64), torch.ones(3, dtype=torch.int64), torch.tensor(labels))


def test_each_class_has_a_cross_entropy_of_its_own():
    labels = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    loss = MultiLabel().loss(lambda *_: SCORES, batch(labels))
    pairs = zip(SCORES.flatten(), torch.tensor(labels).flatten(), strict=True)
    wanted = sum(F.softplus(-score if label else score) for score, label in pairs)
    torch.testing.assert_close(loss.total, wanted)
    assert (int(loss.count), int(loss.metrics["correct"])) == (3, 2)


def test_a_number_costs_the_square_of_its_error():
    loss = Regression().loss(lambda *_: SCORES[:, :1], batch([2.0, 1.0, -1.0]))
    assert loss.total.item() == pytest.approx(0.25)
    assert loss.count == 3
