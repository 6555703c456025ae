"""How long and how a model is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from malmoi.core.config import parse_settings
from malmoi.train.compilation import Compile
from malmoi.train.optimizers import OptimizerSettings
from malmoi.train.schedules import Schedule


class TrainerSettings(OptimizerSettings):
    """How long and how a model is trained.

    Attributes:
        steps: optimizer steps.
        minutes: that the steps are to take: until the schedule depends on their number it is reckoned again by how long
            they take here (`malmoi.train.pace`); None for exactly `steps`.
        most_steps: however many more the minutes would hold.
        slots: micro-batches whose gradients are added up in one step.
        schedule, warm_up, cool_down, final: see `malmoi.train.schedules.factor`.
        clip: largest norm of the gradient; 0 for no limit.
        precision: of the forward pass; "auto" measures this machine.
        validate_every: steps between validations; 0 validates at the end only.
        checkpoint_every: steps between saved states; 0 saves by the clock (`malmoi.train.saving`).
        recompute: activations that are not kept but computed again, which saves memory and costs time: "blocks",
            "feed_forward" or "attention", with ":2" behind it in every second block only; "" for none.
        keep_best: end with the weights of the lowest validation loss, not the last.
        compile: the blocks (torch.compile): "auto" where it is measured to pay within the training, "always", "never".
        seed: of dropout.
    """

    steps: PositiveInt
    minutes: PositiveFloat | None = None
    most_steps: PositiveInt | None = None
    slots: PositiveInt = 1
    schedule: Schedule = "trapezoid"
    warm_up: NonNegativeInt = 0
    cool_down: Annotated[float, Field(ge=0, le=1)] = 0.5
    final: Annotated[float, Field(ge=0, le=1)] = 0.0
    clip: NonNegativeFloat = 1.0
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    validate_every: NonNegativeInt = 0
    checkpoint_every: NonNegativeInt = 0
    recompute: str = ""
    keep_best: bool = False
    compile: Compile = "auto"
    seed: int = 0


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    parse_settings(TrainerSettings, {"steps": 1, **fields}, "'trainer'")
    if own := {"steps", "minutes", "most_steps"} & set(fields):
        raise ValueError(f"{own.pop()} is a setting of the stage, from which others follow; say it there")
    return fields


TrainerFields = Annotated[dict[str, Any], AfterValidator(_checked)]
"""Some fields of `TrainerSettings`, for a stage that derives the rest; a wrong one is told before anything runs.

How long is said to the stage."""
