"""How a model that can read already learns a task: what the stages that put a new head on it have in common."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from malmoi.core.config import Settings
from malmoi.models.dropout import set_dropout
from malmoi.models.model import Backbone
from malmoi.models.trained_part import freeze
from malmoi.train.settings import TrainerSettings


class FineTuningSettings(Settings):
    """How long and how fast it learns.

    Attributes:
        train: "head" trains the new head, "last:N" the last N layers too, "lora:R" low-rank differences, "all" all.
        rows: texts in a step.
        epochs: how often each text is seen.
        optimizer: "adamw", or "muon" for the matrices of the layers, which suits a small or new base with many texts.
        learning_rate: of AdamW.
        depth_decay: the learning rate of each layer is that of the one above times this.
        weight_decay: of AdamW.
        dropout: share of the numbers that training leaves out; by default what the base has.
        seed: of new weights and of the order.
    """

    train: str = "all"
    rows: PositiveInt = 16
    epochs: PositiveFloat = 2
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: PositiveFloat = 1e-4
    depth_decay: float = Field(1.0, gt=0, le=1)
    weight_decay: NonNegativeFloat = 0.01
    dropout: float | None = Field(None, ge=0, lt=1)
    seed: int = 0

    def prepare(self, body: Backbone) -> int:
        """Set the base's dropout and leave trainable what `train` says; gives and raises what `freeze` does."""
        if self.dropout is not None:
            set_dropout(body, self.dropout)
        return freeze(body, self.train, self.seed)

    def trainer(self, steps: int, **changes: Any) -> TrainerSettings:
        """A training of so many steps: a short warm-up, a long cool-down, a few validations.

        Args:
            changes: further fields of `TrainerSettings`.
        """
        return TrainerSettings(
            steps=steps,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            depth_decay=self.depth_decay,
            weight_decay=self.weight_decay,
            warm_up=max(1, steps // 10),
            cool_down=0.9,
            validate_every=math.ceil(steps / 6),
            seed=self.seed,
            **changes,
        )
