"""What a training shows of itself on the way: completions, pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Samples(NamedTuple):
    """Something that is made several times while a model learns, the first time before it does.

    Attributes:
        times: how often, spread evenly; with 1 before and after the training, with 0 never.
        make: called with the number of steps done; after a kill it may be called again with the same number. Where
            processes share the weights it is called at the end only.
    """

    times: int
    make: Callable[[int], None]

    def due(self, step: int, steps: int) -> bool:
        """Whether it is time, after `step` of `steps` steps."""
        if step in (0, steps):
            return self.times > 0
        turns = max(0, self.times - 1)
        return step * turns // steps > (step - 1) * turns // steps


NO_SAMPLES = Samples(0, lambda step: None)
