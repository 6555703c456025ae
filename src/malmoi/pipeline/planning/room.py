"""Whether a training fits into the memory of the processes that are to share it, before it begins."""

from __future__ import annotations

import os
from dataclasses import replace

import psutil

from malmoi.core.accelerator import pick_device, total_memory
from malmoi.core.errors import UserError
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.model import ModelConfig
from malmoi.parallel.execution import dealt
from malmoi.parallel.layout import Layout, current_layout
from malmoi.parallel.layout_check import Work, layout_problem, nearest_layouts
from malmoi.pipeline.planning.job import Job
from malmoi.pipeline.planning.memory import USABLE, fullest
from malmoi.train.settings import TrainerSettings


def check_room(config: ModelConfig, settings: TrainerSettings, rows: int, length: int) -> None:
    """Refuse a training in the current layout that needs more memory than there is, by the plan's estimate.

    Only decoder-only transformers that several processes share are planned; others pass.

    Args:
        rows: of a micro-batch.
        length: tokens of a row.

    Raises:
        UserError: says how much it needs, and names the nearest layout that fits.
    """
    layout = current_layout()
    if layout.processes == 1 or settings.precision == "auto" or not isinstance(config, GPTConfig):
        return
    work = Work(config, layout.processes, rows * settings.slots, settings.slots)
    if layout_problem(work, layout):
        return  # the trainer says so
    room = USABLE * _memory()
    need = _peak(config, layout, settings, rows, length)
    if need <= room:
        return
    fitting = (
        other for other in nearest_layouts(work, layout, 50) if _peak(config, other, settings, rows, length) <= room
    )
    found = next(fitting, None)
    raise UserError(
        f"The layout {layout} needs {need / 1e9:,.1f} GB in a process by the plan's estimate, and {room / 1e9:,.1f} GB "
        "can be had.",
        f"The nearest that fits: {found}."
        if found
        else "Take more processes, trainer.recompute=blocks, or fewer rows.",
    )


def _peak(config: GPTConfig, layout: Layout, settings: TrainerSettings, rows: int, length: int) -> int:
    """Bytes of the fullest process."""
    each = max(1, rows // dealt(settings.slots, 0, layout.replicas)[0].parts)
    assert settings.precision != "auto"
    job = Job(config, layout, rows * settings.slots, each, length, settings.precision, settings.recompute, settings)
    return fullest(replace(job, rows=max(job.rows, layout.replicas * each), device=pick_device().type)).peak


def _memory() -> int:
    """Bytes that this process has: of its device, or its part of what the processes of this machine share."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return total_memory(pick_device()) or psutil.virtual_memory().total // here
