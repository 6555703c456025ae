"""The fourth door: what is learned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch


@dataclass(frozen=True)
class Loss:
    """A sum and a count, never a mean: accumulation, unequal batches and validation are exact by construction.

    Attributes:
        total: scalar float32 with gradient, the sum of the losses of all counted items.
        count: scalar int64, how many items (tokens, rows) the sum runs over; may be 0.
        metrics: further sums over the same items, such as {"correct": ...}; divided by the count when shown.
    """

    total: torch.Tensor
    count: torch.Tensor
    metrics: dict[str, torch.Tensor] = field(default_factory=dict)


class Objective(Protocol):
    """Turns a model and a batch into a loss. Knows nothing of precision, optimizers or devices."""

    def loss(self, model: Any, batch: Any) -> Loss:
        """The loss of `model` on `batch`, as a sum and a count."""
        ...
