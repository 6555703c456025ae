"""Put a text into one of several classes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from malmoi.data.batch import IGNORED, LabelledBatch
from malmoi.objectives.objective import Loss


class Classification:
    """Cross-entropy of the class, over the rows whose label is known; `correct` counts the right ones."""

    def loss(self, model: nn.Module, batch: LabelledBatch) -> Loss:
        """See `Objective.loss`; `model(tokens, lengths, segments)` gives (rows, classes)."""
        scores: torch.Tensor = model(batch.tokens, batch.lengths, batch.segments).float()
        total = F.cross_entropy(scores, batch.labels, ignore_index=IGNORED, reduction="sum")
        correct = (scores.argmax(-1) == batch.labels).sum()
        return Loss(total, (batch.labels != IGNORED).sum(), {"correct": correct})
