"""Give every token one of several classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from malmoi.data.batch import IGNORED, Batch
from malmoi.data.token_labels import TokenLabelledBatch
from malmoi.models.token_labeller import TokenLabeller
from malmoi.objectives.objective import Loss


class TokenLabels:
    """Cross-entropy of the class, over the tokens whose label is known; `correct` counts the right ones."""

    def loss(self, model: nn.Module, batch: TokenLabelledBatch) -> Loss:
        """See `Objective.loss`; `model(tokens, lengths)` gives (rows, length, classes)."""
        return _loss(model(batch.tokens, batch.lengths), batch)

    def of_states(self, model: TokenLabeller, states: torch.Tensor, batch: Any) -> Loss:
        """See `StatesObjective.of_states`."""
        return _loss(model.label(states), batch)

    def serves(self, batch: Batch) -> bool:
        """See `StatesObjective.serves`."""
        return isinstance(batch, TokenLabelledBatch)


def _loss(scores: torch.Tensor, batch: TokenLabelledBatch) -> Loss:
    flat = scores.float().flatten(0, 1)
    total = F.cross_entropy(flat, batch.labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return Loss(total, (batch.labels != IGNORED).sum(), {"correct": (scores.argmax(-1) == batch.labels).sum()})
