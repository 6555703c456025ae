"""The positions of a batch that are learned from."""

from __future__ import annotations

import torch

from malmoi.core.accelerator import wants_static_shapes
from malmoi.data.batch import IGNORED

MOST = 0.9
"""Share of positions that count above which leaving out the others costs more than it saves."""


def counted_rows(states: torch.Tensor, targets: torch.Tensor, count: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The states that have a target, and the targets; all of them where few have none, or a new shape is expensive.

    Args:
        states: (..., width).
        targets: (...) int64, or IGNORED.
        count: how many are not IGNORED; None where they have to be counted.

    Returns:
        (rows, width) and (rows,), in the order of the batch; a target may be IGNORED.
    """
    counted = targets != IGNORED
    if wants_static_shapes(states.device) or (int(counted.sum()) if count is None else count) >= MOST * targets.numel():
        return states.flatten(0, -2), targets.flatten()
    return states[counted], targets[counted]
