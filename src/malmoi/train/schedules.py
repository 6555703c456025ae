"""Learning rate schedules: pure functions of the step that give a factor between 0 and 1."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["trapezoid", "cosine", "noam"]


def factor(step: int, steps: int, *, schedule: Schedule, warm_up: int, cool_down: float, final: float) -> float:
    """What the learning rate of step `step` (from 0) of `steps` is multiplied by.

    Args:
        schedule: "trapezoid" rises, stays and falls linearly (Haegele and others 2024, 2405.18392); "cosine" rises
            and falls along half a cosine; "noam" rises and falls with the inverse square root of the step, whatever
            `cool_down` and `final` say (Vaswani and others 2017, 1706.03762, section 5.3).
        warm_up: steps of the rise.
        cool_down: share of all steps in which a trapezoid falls.
        final: factor at the end.
    """
    rise = min(1.0, (step + 1) / warm_up) if warm_up else 1.0
    if schedule == "noam":
        return min(rise, math.sqrt(max(1, warm_up) / (step + 1)))
    if schedule == "cosine":
        progress = max(0.0, (step - warm_up) / max(1, steps - warm_up))
        return rise * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress)))
    falling = cool_down * steps
    left = (steps - step) / falling if falling else 1.0
    return rise * (final + (1 - final) * min(1.0, left))


def steps_decide_after(steps: int, *, schedule: Schedule, cool_down: float) -> int:
    """Up to which of `steps` steps the rate would be the same with any larger number of them; see `factor`."""
    if schedule == "noam":
        return steps
    return math.floor((1 - cool_down) * steps) if schedule == "trapezoid" else 0
