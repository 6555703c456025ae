"""What a training's own numbers say against it, in plain words, with the setting to change."""

from __future__ import annotations

import math
import shutil
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median

from malmoi.train.settings import TrainerSettings

LOOK_BACK, LATELY = 50, 10
"""Steps that the last ones are compared with, and how many these are: several hard batches in a row are chance."""

JUMP, BACK, RISE = 1.5, 1.2, 1.01
"""Times the usual or the first loss that is too high; times the lowest one, or the best held-out one, that is worse."""

RISING = 3
"""Validations in a row that are each worse than the one before, and than the best, before a word is said: of a few
hundred texts the loss goes up and down by chance."""

RECORDS = 32 << 20
"""Bytes on the disk for everything that a training writes beside its states."""

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
        self._begun = self._lowest = math.inf
        self._held_out, self._rises = -math.inf, 0
        self._said: set[str] = set()

    def after_step(self, step: int, loss: float, norm: float) -> list[str]:
        """What there is to say after a step with this mean loss and this norm of the gradient before clipping.

        A step that has none, or none that is finite, is passed over.
        """
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return []
        if step == 1:
            self._first = loss
        self._losses.append(loss)
        self._norms.append(norm)
        return [*self._of_the_beginning(step), *self._of_the_course(step)]

    def _of_the_beginning(self, step: int) -> list[str]:
        """What there is to say where the loss has been far above that of the first weights for a while.

        Far: the first is further below the lowest since then than that is below what is usual; an easy batch is not.
        """
        since = list(self._losses)[1:]
        if not self._first or len(since) < LATELY or min(since) ** 2 <= JUMP * self._first * median(since):
            return []
        return self._once(
            "high",
            f"Step {step:,}: the loss rose from {self._first:.2f} at the first step to about "
            f"{median(since):.2f}, and stays there. Lower learning_rate and matrix_learning_rate, or lengthen "
            f"warm_up.",
        )

    def _of_the_course(self, step: int) -> list[str]:
        """What the last losses and gradients say beside those before them."""
        if len(self._losses) < LOOK_BACK + LATELY:
            return []
        before, lately = list(self._losses)[:LOOK_BACK], median(list(self._losses)[LOOK_BACK:])
        mean, clip = fmean(self._losses), self.settings.clip
        self._begun = mean if math.isinf(self._begun) else self._begun
        self._lowest = min(self._lowest, mean)
        found = []
        if lately > max(JUMP * median(before), sorted(before)[-2]):
            found += self._once(
                "spike",
                f"Step {step:,}: the loss jumped from about {median(before):.2f} to {lately:.2f}. If it does not come "
                f"down again, lower learning_rate and matrix_learning_rate, or lengthen warm_up.",
            )
        if 2 * step >= self.settings.steps >= 4 * LOOK_BACK and mean > 0.99 * self._begun and "high" not in self._said:
            found += self._back(step, mean) if mean > BACK * self._lowest else self._flat(step, mean)
        if clip and median(self._norms) > MOSTLY_CUT * clip:
            found += self._once(
                "cut",
                f"Step {step:,}: gradients are about {median(self._norms) / clip:.0f} times as long as clip="
                f"{clip:g} allows, and cut at nearly every step. Raise clip, or lower learning_rate.",
            )
        return found

    def _back(self, step: int, mean: float) -> list[str]:
        return self._once(
            "back",
            f"Step {step:,}: the loss had come down to {self._lowest:.2f} and is back at {mean:.2f}, where it began. "
            f"Lower learning_rate and matrix_learning_rate.",
        )

    def _flat(self, step: int, mean: float) -> list[str]:
        return self._once(
            "flat",
            f"Step {step:,}: the loss is still at {mean:.2f}, where it began. Raise learning_rate, and look "
            f"whether texts and labels are what they should be.",
        )

    def after_validation(self, step: int, loss: float, best: float) -> list[str]:
        """What there is to say after a validation with a finite loss; `best` is the lowest so far."""
        self._rises = self._rises + 1 if loss > max(RISE * best, self._held_out) else 0
        self._held_out = loss
        if self._rises < RISING or "high" in self._said:
            return []
        taken = "best" if self.settings.keep_best else "last"
        return self._once(
            "rising",
            f"Step {step:,}: on what is held out the loss has risen {RISING} times in a row, to {loss:.3f} from "
            f"{best:.3f} at its best: the rest is learned by heart. The {taken} weights are taken in the end. Fewer "
            f"steps or epochs, more text or weight_decay help.",
        )

    def before_first_step(self) -> list[str]:
        """What there is to say of the settings."""
        settings = self.settings
        if settings.steps >= settings.warm_up:
            return []
        return self._once(
            "warm-up",
            f"The learning rate rises during warm_up={settings.warm_up:,} steps, and there are only "
            f"{settings.steps:,}: it never reaches what is set. Shorten warm_up, or train longer.",
        )

    def before_saving(self, state_bytes: int) -> list[str]:
        """What there is to say of the disk before a state of this size is saved."""
        free = self._free()
        if free > 4 * state_bytes + RECORDS:
            return []
        return self._once(
            "disk",
            f"{free / 2**20:,.1f} MiB are free on the disk. A state takes {state_bytes / 2**20:,.1f}, two are kept "
            f"while a third is written, and records and weights come on top. Make room.",
        )

    def _once(self, what: str, words: str) -> list[str]:
        if what in self._said:
            return []
        self._said.add(what)
        return [words]


def free_bytes(directory: Path) -> int:
    """Bytes that are free on the disk of a directory."""
    return shutil.disk_usage(directory).free
