"""Give every token one of several classes."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from malmoi.data.batch import IGNORED
from malmoi.data.token_labels import TokenLabelledBatch
from malmoi.objectives.objective import Loss


class TokenLabels:
    """Cross-entropy of the class, over the tokens whose label is known; `correct` counts the right ones."""

    def loss(self, model: nn.Module, batch: TokenLabelledBatch) -> Loss:
        """See `Objective.loss`; `model(tokens, lengths)` gives (rows, length, classes)."""
        scores = model(batch.tokens, batch.lengths).float()
        total = F.cross_entropy(scores.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED, reduction="sum")
        return Loss(total, (batch.labels != IGNORED).sum(), {"correct": (scores.argmax(-1) == batch.labels).sum()})
