"""Put a text, or a pair of texts, into one of several classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from malmoi.data.batch import IGNORED, Batch, LabelledBatch, MaskedBatch
from malmoi.models.classifier import Classifier
from malmoi.objectives.objective import Loss


class Classification:
    """Cross-entropy of the class, over the rows whose label is known; `correct` counts the right ones.

    The classes make the task: sentiment, entailment, or whether one text goes on where another one ends, see
    `malmoi.data.sentence_pairs`.
    """

    def loss(self, model: nn.Module, batch: LabelledBatch) -> Loss:
        """See `Objective.loss`; `model(tokens, lengths, segments)` gives (rows, classes)."""
        return _loss(model(batch.tokens, batch.lengths, batch.segments), batch.labels)

    def of_states(self, model: Classifier, states: torch.Tensor, batch: Any) -> Loss:
        """See `StatesObjective.of_states`."""
        return _loss(model.score(model.body.pooled(states, batch.lengths)), batch.labels)

    def serves(self, batch: Batch) -> bool:
        """See `StatesObjective.serves`."""
        return isinstance(batch, (LabelledBatch, MaskedBatch)) and batch.labels is not None


def _loss(scores: torch.Tensor, labels: torch.Tensor) -> Loss:
    total = F.cross_entropy(scores.float(), labels, ignore_index=IGNORED, reduction="sum")
    return Loss(total, (labels != IGNORED).sum(), {"correct": (scores.argmax(-1) == labels).sum()})
