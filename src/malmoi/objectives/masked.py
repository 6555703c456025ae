"""Guess words that were hidden."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from malmoi.data.batch import IGNORED, Batch, MaskedBatch
from malmoi.models.classifier import Classifier
from malmoi.models.headed import body_of
from malmoi.models.model import Backbone
from malmoi.objectives.counted import counted_rows
from malmoi.objectives.objective import Loss


class Masked:
    """Cross-entropy of the tokens that were hidden (Devlin and others 2019, arXiv:1810.04805).

    It runs over the targets that are not IGNORED; `correct` counts those guessed right.
    """

    def loss(self, model: Backbone | Classifier, batch: MaskedBatch) -> Loss:
        """See `Objective.loss`."""
        body = body_of(model)
        states = body.through(body.embed(batch.tokens, batch.segments), batch.lengths, documents=batch.documents)
        return self.of_states(model, states, batch)

    def of_states(self, model: Backbone | Classifier, states: torch.Tensor, batch: Any) -> Loss:
        """See `StatesObjective.of_states`; the head looks only at the positions that count."""
        body = body_of(model)
        states, targets = counted_rows(states, batch.targets, batch.counted)
        logits = body.head(body.finish(states)).float()
        total = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
        return Loss(total, (targets != IGNORED).sum(), {"correct": (logits.argmax(-1) == targets).sum()})

    def serves(self, batch: Batch) -> bool:
        """See `StatesObjective.serves`."""
        return isinstance(batch, MaskedBatch)
