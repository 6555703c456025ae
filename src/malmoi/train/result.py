"""What a training came to."""

from __future__ import annotations

from dataclasses import dataclass

from malmoi.train.precision import Precision


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
