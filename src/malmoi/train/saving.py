"""When a training saves its state: by the clock, so that a kill costs the same time whatever a step takes."""

from __future__ import annotations

import time

SAVED_AFTER = 45.0
"""Seconds of training that a kill may cost."""

SHARE = 1 / 20
"""Of its time that a training may spend on saving, where a state is so large that it would take more."""


class SaveClock:
    """Runs from the beginning of a training, and from every saved state on."""

    def __init__(self) -> None:
        self._saved, self._took = time.monotonic(), 0.0

    def due(self) -> bool:
        """Whether a state should be saved now."""
        return time.monotonic() - self._saved >= max(SAVED_AFTER, self._took / SHARE)

    def restart(self, took: float) -> None:
        """A state was saved, for which the training stood still so many seconds."""
        self._saved, self._took = time.monotonic(), took
