"""Give a text, or a pair, a number."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from malmoi.data.batch import LabelledBatch
from malmoi.objectives.objective import Loss


class Regression:
    """Squared error of the one score."""

    def loss(self, model: nn.Module, batch: LabelledBatch) -> Loss:
        """See `Objective.loss`; the labels are (rows,) float32."""
        scores = model(batch.tokens, batch.lengths, batch.segments).float()
        total = F.mse_loss(scores[:, 0], batch.labels, reduction="sum")
        return Loss(total, batch.lengths.new_tensor(len(scores)))
