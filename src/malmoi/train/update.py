"""What becomes of the gradients of a step: a mean, clipped, and applied; or nothing, where they are not finite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from malmoi.core.accelerator import end_step
from malmoi.core.errors import UserError
from malmoi.parallel.execution import Execution
from malmoi.train.precision import autocast
from malmoi.train.schedules import factor
from malmoi.train.settings import TrainerSettings
from malmoi.train.state import Progress, saved_states

PATIENCE = 10
"""Steps in a row that may be left out because their gradient is not finite."""

SCALE_DOUBLES = 2_000
"""Steps after which the loss scale of float16 is tried higher."""

SEARCHED, HALVED = 16, 2
"""What an overflow divides the scale by before the first step that is finite, and after it."""

LEAST_SCALE = 2.0**-16
"""An overflow below it is no fault of float16."""


class Diverged(UserError):
    """The gradient of a training is not finite any more."""


class Updates:
    """Applies gradients of sums that `execution` has gathered.

    Args:
        states: where the last good state is, for the message.
    """

    def __init__(
        self,
        execution: Execution,
        optimizers: Sequence[torch.optim.Optimizer],
        settings: TrainerSettings,
        states: Path,
    ) -> None:
        self._execution, self._optimizers, self._settings, self._states = execution, optimizers, settings, states

    def set_learning_rates(self, step: int, steps: int) -> float:
        """Those of one of `steps` steps, in all groups; returns that of AdamW."""
        settings = self._settings
        multiplier = factor(
            step,
            steps,
            schedule=settings.schedule,
            warm_up=settings.warm_up,
            cool_down=settings.cool_down,
            final=settings.final,
        )
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * multiplier
        return settings.learning_rate * multiplier

    def apply(self, step: int, count: int, done: Progress) -> float:
        """Change the weights and forget the gradients; returns the norm of the mean before clipping.

        A step in which nothing is counted changes nothing: momentum and weight decay would.

        Args:
            count: what the gradients are sums over.
            done: whose skipped steps are counted and whose loss scale follows what float16 can hold.

        Raises:
            Diverged: the gradient was not finite too often.
        """
        norm = self._to_mean(count, done.loss_scale) if count else 0.0
        if count and math.isfinite(norm):
            with autocast(self._execution.device, done.precision):
                for optimizer in self._optimizers:
                    optimizer.step()
            end_step(self._execution.device)
            done.refused = 0
            if done.precision == "float16" and (step + 1) % SCALE_DOUBLES == 0:
                done.scale *= 2
        elif count:
            self._refuse(step, done)
        self._execution.forget_gradients()
        return norm

    def _to_mean(self, count: int, scale: float) -> float:
        """Turn gradients of a sum into those of a mean, clipped; returns the norm before clipping."""
        divisor = count * scale
        norm = self._execution.gradient_norm() / divisor
        clip = self._settings.clip
        if math.isfinite(norm):
            self._execution.scale_gradients((clip / norm if clip and norm > clip else 1.0) / divisor)
        return norm

    def _refuse(self, step: int, done: Progress) -> None:
        none_before = done.skipped == step
        done.skipped += 1
        if done.precision == "float16" and done.scale > LEAST_SCALE:
            done.scale /= SEARCHED if none_before else HALVED
            return
        done.refused += 1
        if done.refused >= PATIENCE:
            good = next(iter(saved_states(self._states)), None)
            raise Diverged(
                f"The gradient was not finite in {PATIENCE} steps in a row, up to step {step + 1}.",
                "Lower learning_rate and matrix_learning_rate, or set precision=float32"
                + (f"; the last good state is {good}." if good else "."),
            )
