"""What a training's own numbers say against it, in plain words, with the setting to change."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median

from malmoi.train.settings import TrainerSettings

LOOK_BACK, LATELY = 50, 10
"""Steps that the last ones are compared with, and how many these are: several hard batches in a row are chance."""

JUMP, RISE = 1.5, 1.01
"""Times the usual loss that is a spike; times the best held-out loss that is worse."""

RISING = 3
"""Validations in a row that are worse than the best before a word is said."""

MOSTLY_CUT = 10.0
"""Times `clip` that gradients are as a rule, when the learning rate is too high or `clip` too low."""


class Advisor:
    """Watches the losses of one training and says each thing once.

    Args:
        settings: of the training, as they hold now.
        free: bytes that are free where states are saved.
    """

    def __init__(self, settings: TrainerSettings, free: Callable[[], int]) -> None:
        self.settings, self._free = settings, free
        self._losses: deque[float] = deque(maxlen=LOOK_BACK + LATELY)
        self._norms: deque[float] = deque(maxlen=LOOK_BACK)
        self._first: float | None = None
        self._worse = 0
        self._said: set[str] = set()

    def after_step(self, step: int, loss: float, norm: float) -> list[str]:
        """What there is to say after a step with this mean loss and this norm of the gradient before clipping."""
        self._losses.append(loss)
        self._norms.append(norm)
        if len(self._losses) < LOOK_BACK + LATELY:
            return []
        before, lately = list(self._losses)[:LOOK_BACK], median(list(self._losses)[LOOK_BACK:])
        mean, clip = fmean(self._losses), self.settings.clip
        self._first = self._first or mean
        found = []
        if lately > max(JUMP * median(before), sorted(before)[-2]):
            found += self._once(
                "spike",
                f"Step {step:,}: the loss jumped from about {median(before):.2f} to {lately:.2f}. If it does not come "
                f"down again, lower learning_rate and matrix_learning_rate, or lengthen warm_up.",
            )
        if 2 * step >= self.settings.steps >= 4 * LOOK_BACK and mean > 0.99 * self._first:
            found += self._once(
                "flat",
                f"Step {step:,}: the loss is still at {mean:.2f}, where it began. Raise learning_rate, and look "
                f"whether texts and labels are what they should be.",
            )
        if clip and median(self._norms) > MOSTLY_CUT * clip:
            found += self._once(
                "cut",
                f"Step {step:,}: gradients are about {median(self._norms) / clip:.0f} times as long as clip="
                f"{clip:g} allows, and cut at nearly every step. Raise clip, or lower learning_rate.",
            )
        return found

    def after_validation(self, step: int, loss: float, best: float) -> list[str]:
        """What there is to say after a validation; `best` is the lowest loss so far."""
        self._worse = self._worse + 1 if loss > RISE * best else 0
        if self._worse < RISING:
            return []
        taken = "best" if self.settings.keep_best else "last"
        return self._once(
            "rising",
            f"Step {step:,}: on what is held out the loss has been above its best ({best:.3f}) {RISING} times in a "
            f"row, now {loss:.3f}: the rest is learned by heart. The {taken} weights are taken in the end. Fewer "
            f"steps or epochs, more text or weight_decay help.",
        )

    def before_saving(self, state_bytes: int) -> list[str]:
        """What there is to say of the disk before a state of this size is saved."""
        free = self._free()
        if free > 4 * state_bytes:
            return []
        return self._once(
            "disk",
            f"{free / 2**30:.1f} GiB are free on the disk, and a state takes {state_bytes / 2**30:.1f}. Make room, or "
            f"save less often (checkpoint_every).",
        )

    def _once(self, what: str, words: str) -> list[str]:
        if what in self._said:
            return []
        self._said.add(what)
        return [words]


def free_bytes(directory: Path) -> int:
    """Bytes that are free on the disk of a directory."""
    return shutil.disk_usage(directory).free
