"""The number of steps, reckoned again while a training runs, so that it takes the minutes it was given."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable, Iterator

from malmoi.core.console import console
from malmoi.train.schedules import steps_decide_after
from malmoi.train.settings import TrainerSettings
from malmoi.train.state import Progress

TIME_SHARE = 0.93
"""Share of the minutes that is spent in training steps; validation, samples and saving take the rest."""

FEWEST, NEXT = 10, 1 / 4
"""It is reckoned again after so many steps, then after this share of those that are left, and no sooner."""

WORTH_SAYING = 0.1
"""Change of the number of steps, as a share of it, that is told."""


def with_steps(settings: TrainerSettings, steps: int) -> TrainerSettings:
    """The settings with so many steps, validated as often in all."""
    every = settings.validate_every
    stretched = max(1, round(every * steps / settings.steps)) if every else 0
    return settings.model_copy(update={"steps": steps, "validate_every": stretched})


class Pace:
    """Watches how long steps take, as long as the schedule does not depend on how many there are.

    Args:
        planned: settings with `minutes`; without them the steps stay as many as they are.

    Attributes:
        settings: those that hold now.
    """

    def __init__(self, planned: TrainerSettings) -> None:
        self.settings = self._planned = planned
        self._seconds: list[float] = []
        self._due = FEWEST

    def go_on(self, done: Progress) -> None:
        """Take the number of steps that `done` has, at the beginning or after a kill."""
        self.settings = with_steps(self._planned, done.steps or self._planned.steps)
        self._due = done.step + FEWEST

    def steps_from(self, step: int) -> Iterator[int]:
        """Those that are still to be done; how many there are may change meanwhile."""
        while step < self.settings.steps:
            yield step
            step += 1

    def after_step(self, done: Progress, seconds: float, agree: Callable[[Callable[[], int]], int]) -> bool:
        """Reckon the number of steps again when it is time to; whether that was done.

        Args:
            done: gets the number.
            seconds: of the last step.
            agree: lets the first of several processes reckon for all.
        """
        settings = self.settings
        if settings.minutes is None:
            return False
        self._seconds.append(seconds)
        free = steps_decide_after(settings.steps, schedule=settings.schedule, cool_down=settings.cool_down)
        if not self._due <= done.step < free:
            return False
        left = TIME_SHARE * (60 * settings.minutes - done.seconds)
        done.steps = agree(lambda: self._reckon(done.step, left))
        self.settings, self._seconds = with_steps(self._planned, done.steps), []
        self._due = done.step + max(FEWEST, round(NEXT * (done.steps - done.step)))
        return True

    def _reckon(self, step: int, left: float) -> int:
        """How many steps there should be in all, with so many seconds left."""
        seconds, before = statistics.median(self._seconds), self.settings.steps
        steps = max(min(step + int(left / seconds), self.settings.most_steps or sys.maxsize), self._fewest(step))
        if abs(steps - before) > WORTH_SAYING * before:
            console.print(
                f"  A step takes {seconds:.2g} s now: {steps:,} steps instead of {before:,} fill the "
                f"time of {self.settings.minutes:g} min."
            )
        return steps

    def _fewest(self, step: int) -> int:
        """With so many steps a trapezoid that should have begun to fall begins now."""
        falling = self.settings.cool_down if self.settings.schedule == "trapezoid" else 0.0
        return max(step + 1, math.ceil(step / (1 - falling)))
