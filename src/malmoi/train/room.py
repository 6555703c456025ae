"""Whether a training fits into the memory of the processes that are to share it, before any of it is taken."""

from __future__ import annotations

import os

import psutil
from torch import nn

from malmoi.core.accelerator import pick_device, total_memory
from malmoi.core.console import console, verbatim
from malmoi.core.errors import UserError
from malmoi.data.batch import BatchSource
from malmoi.models.headed import body_of
from malmoi.models.model import ModelConfig
from malmoi.objectives.objective import Objective
from malmoi.parallel.agreement import of_the_first, of_the_least
from malmoi.parallel.layout import Layout
from malmoi.parallel.layout_check import Work, nearest_layouts
from malmoi.parallel.memory import USABLE
from malmoi.train.precision import choose_precision
from malmoi.train.settings import TrainerSettings
from malmoi.train.shared_training import SharedTraining


def check_room(
    model: nn.Module, objective: Objective, source: BatchSource, settings: TrainerSettings, layout: Layout
) -> None:
    """Refuse a training that needs more memory than the process with the least has; all processes call it together.

    The estimate is for the shape of one micro-batch, and without models that the objective brings along. What cannot be
    run without numbers passes, which is said.

    Raises:
        UserError: on every process; says how much it needs, and names the nearest layout that fits.
    """
    config = getattr(body_of(model), "config", None)  # type: ignore[arg-type]
    family = config if isinstance(config, ModelConfig) else None
    device = pick_device()
    chosen = settings.precision
    precision = of_the_first(lambda: choose_precision(device)) if chosen == "auto" else chosen
    room = int(USABLE * of_the_least(own_memory()))
    training = SharedTraining(model, family, objective, source.batch(0, 0), settings, precision)
    try:
        need = training.fullest(layout).peak
    except RuntimeError as error:
        console.print(f"  [yellow]how much memory it needs cannot be told beforehand: {verbatim(error)}[/yellow]")
        return
    if need <= room:
        return
    work = Work(family, layout.processes, training.rows * settings.slots, settings.slots)
    found = next((other for other in nearest_layouts(work, layout, 50) if training.fits(other, room)), None)
    raise UserError(
        f"The layout {layout} needs {need / 1e9:,.1f} GB in a process by the plan's estimate, and {room / 1e9:,.1f} GB "
        "can be had.",
        f"The nearest that fits: {found}."
        if found
        else "Take more processes, trainer.recompute=blocks, or fewer rows.",
    )


def own_memory() -> int:
    """Bytes that this process has: of its device, or its part of what the processes of this machine share."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return total_memory(pick_device()) or psutil.virtual_memory().total // here
