"""The largest micro-batch that fits into a given memory; the rows of a step stay what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from malmoi.core.accelerator import peak_memory, pick_device
from malmoi.core.console import console, progress
from malmoi.core.errors import UserError
from malmoi.core.memory import PeakMemory
from malmoi.models.language_model import LanguageModelConfig
from malmoi.pipeline.trial_step import TrialStep
from malmoi.train.allocator import keep_freed_memory
from malmoi.train.precision import choose_precision
from malmoi.train.settings import TrainerSettings

Measure = Callable[[int], int]
"""Peak bytes of this process in a step whose micro-batches have so many rows."""


def fitting_rows(measure: Measure, rows: int, limit: int) -> int:
    """The largest divisor of `rows` that takes at most `limit` bytes; smaller ones are measured first.

    Raises:
        UserError: not even one row fits.
    """
    fitting, peak = 0, 0
    divisors = [size for size in range(1, rows + 1) if rows % size == 0]
    with progress("measuring memory", len(divisors)) as advance:
        for size in divisors:
            peak = measure(size)
            if peak > limit:
                break
            fitting = size
            advance(1, f"{size} rows: {peak / 2**30:.2f} GiB")
    if not fitting:
        raise UserError(
            f"One row takes {peak / 2**30:.2f} GiB, and memory={limit / 2**30:g}.",
            "Set trainer.recompute=blocks and trainer.state_precision=8-bit, a smaller model, or more memory.",
        )
    console.print(f"  micro-batches of {fitting} of {rows} rows fit into {limit / 2**30:g} GiB")
    return fitting


def measured_step(config: LanguageModelConfig, context: int, trainer: dict[str, Any]) -> Measure:
    """Measures one step of a new model: forward, backward, update.

    Args:
        context: tokens in a row.
        trainer: fields of `TrainerSettings`.
    """
    settings = TrainerSettings(**{"steps": 1, **trainer})
    precision = choose_precision(pick_device()) if settings.precision == "auto" else settings.precision
    keep_freed_memory()
    step = TrialStep(config, context, 1, precision, settings)

    def measure(rows: int) -> int:
        memory = PeakMemory()
        step.take(rows)
        step.micro_batch()
        step.update()
        return peak_memory(step.device) or memory.bytes()

    return measure
