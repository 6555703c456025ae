"""Several objectives at once, on the same hidden states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch

from malmoi.data.batch import Batch, MaskedBatch
from malmoi.models.classifier import Classifier
from malmoi.models.headed import body_of
from malmoi.models.model import Backbone
from malmoi.objectives.objective import Loss


class StatesObjective(Protocol):
    """An objective that can start from the states of the last block, so that several share one pass."""

    def of_states(self, model: Any, states: torch.Tensor, batch: Any) -> Loss:
        """The loss of `model` on `batch`, whose (rows, length, width) states are known."""
        ...

    def serves(self, batch: Batch) -> bool:
        """Whether a batch has what this objective learns from."""
        ...


class Part(NamedTuple):
    """An objective, and how many items of another one with weight 1 each of its items counts for."""

    objective: StatesObjective
    weight: int = 1


class Joint:
    """The weighted mean over the items of all objectives: BERT's is masked words and one pair a row.

    total = sum of weight x total, count = sum of weight x count. A weight belongs to an item, not to a mean, so the sum
    over micro-batches is that of the whole step, however many items of each kind they have. BERT adds two means; a pair
    that weighs as much as a row has hidden words comes to the same.

    A batch may serve only some of the objectives: batches of labelled texts between batches of text train a supervised
    task together with masked words.

    The metrics of each objective stand behind its name, `NAME_items` and `NAME_loss` among them.
    """

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self._parts = dict(parts)

    def loss(self, model: Backbone | Classifier, batch: Any) -> Loss:
        """See `Objective.loss`; one pass through the blocks."""
        body = body_of(model)
        documents = batch.documents if isinstance(batch, MaskedBatch) else None
        states = body.through(body.embed(batch.tokens, batch.segments), batch.lengths, documents=documents)
        total, count = states.new_zeros((), dtype=torch.float32), states.new_zeros((), dtype=torch.int64)
        metrics: dict[str, torch.Tensor] = {}
        for name, (objective, weight) in self._parts.items():
            if not objective.serves(batch):
                continue
            loss = objective.of_states(model, states, batch)
            total, count = total + weight * loss.total, count + weight * loss.count
            metrics |= {f"{name}_{key}": value for key, value in loss.metrics.items()}
            metrics |= {f"{name}_items": loss.count, f"{name}_loss": loss.total.detach()}
        return Loss(total, count, metrics)
