"""How this process takes part in a training: alone, or as one of several that share it."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from malmoi.models.headed import body_of
from malmoi.models.model import ModelConfig
from malmoi.objectives.objective import Objective
from malmoi.parallel.execution import Execution, FirstWeights
from malmoi.parallel.layout import Layout
from malmoi.parallel.layout_check import Work, check_layout
from malmoi.parallel.processes import automatic_layout, check_processes, training_begins


def execution(
    model: nn.Module,
    objective: Objective,
    layout: Layout,
    slots: int,
    first_weights: FirstWeights | None = None,
    check: Callable[[Layout], None] = lambda layout: None,
) -> Execution:
    """How this process takes part in a training.

    Args:
        slots: micro-batches of a step.
        first_weights: fills a model that has shapes but no memory; each process has memory for its part only.
        check: may refuse the layout; called when all processes are there, before any takes memory.

    Raises:
        UserError: the layout does not fit the model, or the number of processes.
    """
    if layout.automatic:
        layout = automatic_layout(sum(parameter.nbytes for parameter in model.parameters()))
    if layout.processes == 1:
        return Execution(model, objective, first_weights)
    check_processes(layout)
    config = getattr(body_of(model), "config", None)  # type: ignore[arg-type]
    if isinstance(config, ModelConfig):
        check_layout(Work(config, layout.processes, slots=slots), layout)
    training_begins()
    check(layout)
    from malmoi.parallel.distributed import DistributedExecution  # loads PyTorch's compiler

    return DistributedExecution(model, objective, layout, first_weights)
