"""Read every text twice with different dropout, and answer the same (Liang and others 2021, arXiv:2106.14448)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from malmoi.data.batch import IGNORED, LabelledBatch
from malmoi.objectives.classification import Classification
from malmoi.objectives.objective import Loss


class Consistency:
    """R-Drop: the mean cross-entropy of two readings of a row + weight x their mean divergence from each other.

    The divergence is that of Kullback and Leibler, the mean of both directions, over the rows whose label is known. A
    weight of 1 is the paper's alpha of 2, which adds the two cross-entropies. `cross_entropy` and `divergence` are
    told apart. Held-out rows are read once and have their cross-entropy alone, so that losses compare with others'.

    Args:
        weight: of the divergence.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def loss(self, model: nn.Module, batch: LabelledBatch) -> Loss:
        """See `Objective.loss`; takes what `Classification.loss` takes."""
        if not model.training:
            return Classification().loss(model, batch)
        segments = None if batch.segments is None else _twice(batch.segments)
        scores = model(_twice(batch.tokens), _twice(batch.lengths), segments).float()
        labels = _twice(batch.labels)
        cross_entropy = F.cross_entropy(scores, labels, ignore_index=IGNORED, reduction="sum") / 2
        known = batch.labels != IGNORED
        one, other = (half[known] for half in F.log_softmax(scores, -1).chunk(2))
        divergence = ((one.exp() - other.exp()) * (one - other)).sum() / 2
        metrics = {
            "cross_entropy": cross_entropy.detach(),
            "divergence": divergence.detach(),
            "correct": (one.argmax(-1) == batch.labels[known]).sum(),
        }
        return Loss(cross_entropy + self.weight * divergence, known.sum(), metrics)


def _twice(rows: torch.Tensor) -> torch.Tensor:
    return torch.cat([rows, rows])
