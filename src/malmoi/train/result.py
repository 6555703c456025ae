"""What a training came to."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from malmoi.train.precision import Precision

MOST_NATS = math.log(sys.float_info.max)
"""Loss whose perplexity a float still holds."""


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to. Losses are means over the counted items; seconds count every attempt."""

    steps: int
    items: int
    seconds: float
    skipped: int
    precision: Precision
    validation_loss: float | None
    best_loss: float | None
    best_step: int


def perplexity(loss: float | None) -> float | None:
    """That of a mean loss in nats; None where there is none, or it is beyond what a number holds."""
    return None if loss is None or not loss < MOST_NATS else math.exp(loss)
