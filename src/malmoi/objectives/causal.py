"""Predict the next token."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from malmoi.data.batch import IGNORED, TextBatch
from malmoi.layers.tied_head import TiedHead
from malmoi.models.model import Model
from malmoi.objectives.counted import counted_rows
from malmoi.objectives.linear_cross_entropy import KnowsCrossEntropy, linear_cross_entropy
from malmoi.objectives.objective import Loss


class Causal:
    """Cross-entropy of the next token, over the targets that are not IGNORED."""

    def loss(self, model: Model, batch: TextBatch) -> Loss:
        """See `Objective.loss`; the head looks only at positions that count when many do not."""
        hidden, targets = counted_rows(model(batch.tokens), batch.targets, batch.counted)
        count = (targets != IGNORED).sum()
        head = model.head
        matrix = head.embedding if type(head) is TiedHead else head
        if isinstance(matrix, KnowsCrossEntropy):
            return Loss(matrix.cross_entropy(hidden, targets), count)
        if type(head) is TiedHead or (type(head) is nn.Linear and head.bias is None):
            return Loss(linear_cross_entropy(hidden, head.weight, targets), count)
        total = F.cross_entropy(head(hidden).float(), targets, ignore_index=IGNORED, reduction="sum")
        return Loss(total, count)
