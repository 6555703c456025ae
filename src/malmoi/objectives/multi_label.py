"""Give a text any number of several classes."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from malmoi.data.batch import LabelledBatch
from malmoi.objectives.objective import Loss


class MultiLabel:
    """Binary cross-entropy of every class by itself, summed over the classes of a row; rows count."""

    def loss(self, model: nn.Module, batch: LabelledBatch) -> Loss:
        """See `Objective.loss`; the labels are (rows, classes) float32, 1 where the class is the text's."""
        scores = model(batch.tokens, batch.lengths, batch.segments).float()
        total = F.binary_cross_entropy_with_logits(scores, batch.labels, reduction="sum")
        right = ((scores > 0) == (batch.labels > 0.5)).all(dim=1).sum()
        return Loss(total, batch.lengths.new_tensor(len(scores)), {"correct": right})
