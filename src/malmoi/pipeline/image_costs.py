"""What a training on images takes: operations counted without memory, and how many this machine does in a second."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from malmoi.core.accelerator import pick_device
from malmoi.models.image_model import ImageBody
from malmoi.pipeline.costs import EFFICIENCY
from malmoi.train.precision import choose_precision, product_speed


def operations(body: ImageBody, end: int | None = None) -> int:
    """Floating-point operations that one image costs in the blocks before `end`, all by default.

    `body` is on the meta device, and left in evaluation mode.
    """
    body.eval()
    shape = body.config
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        body.through(body.embed(torch.empty(1, shape.channels, shape.size, shape.size)), end=end)
    return int(counter.get_total_flops())


def operation_seconds(operations: float) -> float:
    """How long so many operations take here."""
    device = pick_device()
    return operations / (EFFICIENCY * product_speed(device, choose_precision(device)))
