"""Number formats of training: chosen by measuring this machine, applied by autocast."""

from __future__ import annotations

import contextlib
import time
from functools import cache
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16", "float16"]

WORTHWHILE = 1.3
"""A shorter format has to be this many times as fast as float32 to be worth its rounding."""


def choose_precision(device: torch.device) -> Precision:
    """bfloat16 where its matrix product is clearly faster than float32's, else float32."""
    return (
        "bfloat16" if product_speed(device, "bfloat16") > WORTHWHILE * product_speed(device, "float32") else "float32"
    )


@cache
def product_speed(device: torch.device, precision: Precision) -> float:
    """FLOP/s of a product of two square matrices, the best of a few; stops early where it is hopeless."""
    size = 512 if device.type == "cpu" else 4_096  # a small one is too short to fill an accelerator, or to be timed
    # random numbers: a GPU multiplies equal ones faster than any real matrix
    left = torch.randn(size, size, device=device).to(getattr(torch, precision))
    (left @ left)[0, 0].item()  # the first one makes its kernel, which may take longer than all others
    best = float("inf")
    started = time.perf_counter()
    while time.perf_counter() - started < 0.05:
        before = time.perf_counter()
        (left @ left)[0, 0].item()
        best = min(best, time.perf_counter() - before)
    return 2 * size**3 / best


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[object]:
    """The context in which a forward pass runs in `precision`; parameters stay float32."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))
