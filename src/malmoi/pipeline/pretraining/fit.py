"""The largest micro-batch that fits into a given memory; the rows of a step stay what they are."""

from __future__ import annotations

import os
from collections.abc import Callable

import psutil
import torch

from malmoi.core.accelerator import free_memory, peak_memory, pick_device, total_memory
from malmoi.core.config import key_of
from malmoi.core.console import console, progress
from malmoi.core.errors import UserError
from malmoi.core.memory import PeakMemory
from malmoi.models.language_model import LanguageModelConfig
from malmoi.parallel.memory import USABLE
from malmoi.pipeline.pretraining.settings import PretrainSettings
from malmoi.pipeline.pretraining.trial_step import TrialStep
from malmoi.train.allocator import keep_freed_memory
from malmoi.train.settings import TrainerSettings

Measure = Callable[[int], int]
"""Peak bytes of this process in a step whose micro-batches have so many rows."""

GIB = 2**30


def available_memory() -> float:
    """GiB that this process may take: most of what nobody else has now, of its device or as its part of the machine."""
    device = pick_device()
    free = free_memory(device)
    if free is None:
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        free = psutil.virtual_memory().available // here + psutil.Process().memory_info().rss
    return round(USABLE * free / GIB, 1)


def settle_memory(settings: PretrainSettings) -> PretrainSettings:
    """The settings with the GiB that are available now, if that is what they say."""
    if settings.memory != "available":
        return settings
    return settings.model_copy(update={"memory": available_memory()})


def divisors(rows: int) -> list[int]:
    """The sizes of micro-batches of which a step of so many rows can be made, in their order."""
    return [size for size in range(1, rows + 1) if rows % size == 0]


def fitting_rows(measure: Measure, rows: int, limit: int) -> int:
    """The largest divisor of `rows` that takes at most `limit` bytes.

    Smaller ones are measured first, and none that would take too much if memory grows as it did between the last two:
    there may be no more of it.

    Raises:
        UserError: not even one row fits.
    """
    sizes, peaks = divisors(rows), dict[int, int]()
    with progress("measuring memory", len(sizes)) as advance:
        for size in sizes:
            if _expected(peaks, size) > limit:
                break
            peaks[size] = measure(size)
            advance(1, f"{size} rows: {peaks[size] / GIB:.2f} GiB")
            if peaks[size] > limit:
                break
    fitting = max((size for size, peak in peaks.items() if peak <= limit), default=0)
    if not fitting:
        recompute, states = key_of("trainer.recompute"), key_of("trainer.state_precision")
        raise UserError(
            f"One row takes {peaks[1] / GIB:.2f} GiB, and there are {limit / GIB:g}.",
            f"Set {recompute}=blocks and {states}=8-bit, a smaller model, or more memory.",
        )
    console.print(f"  micro-batches of {fitting} of {rows} rows fit into {limit / GIB:g} GiB")
    return fitting


def _expected(peaks: dict[int, int], size: int) -> float:
    """Bytes for a size by the last two that were measured, on a straight line; 0 before there are two."""
    if len(peaks) < 2:
        return 0.0
    (before, low), (last, high) = list(peaks.items())[-2:]
    return high + (high - low) * (size - last) / (last - before)


def measured_step(config: LanguageModelConfig, context: int, trainer: TrainerSettings) -> Measure:
    """Measures one step of a new model: forward, backward, update.

    Args:
        context: tokens in a row.
    """
    keep_freed_memory()
    step = TrialStep(config, context, 1, trainer)

    def measure(rows: int) -> int:
        memory = PeakMemory()
        try:
            step.take(rows)
            step.micro_batch()
            step.update()
        except torch.OutOfMemoryError:
            return (total_memory(step.device) or 0) + 1
        return peak_memory(step.device) or memory.bytes()

    return measure
