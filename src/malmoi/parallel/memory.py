"""What a process of a layout has in memory, and when it has most."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from malmoi.parallel.layout import Layout, PipelineSchedule
from malmoi.parallel.schedule import order_of

USABLE = 0.92
"""Share of a device's memory that tensors can have: the rest goes to kernels, exchange buffers and fragments. An
assumption."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one process.

    Attributes:
        parameters, gradients, states: weights, their gradients, what the optimizers remember.
        activations: what the forward passes keep for the backward passes, at most.
        buffers: weights and gradients gathered for a while, gradients on their way, the logits of some rows, what a
            block computes again.
        together: whether gradients are there while activations are: of earlier micro-batches.
    """

    parameters: int
    gradients: int
    states: int
    activations: int
    buffers: int
    together: bool = True

    @property
    def peak(self) -> int:
        """The most there is at once; gradients grow while activations shrink where there is one micro-batch."""
        most = self.gradients + self.activations if self.together else max(self.gradients, self.activations)
        return self.parameters + self.states + most + self.buffers


def held_micro_batches(layout: Layout, micro_batches: int, place: int) -> float:
    """Micro-batches whose activations a process of a place in the pipeline keeps at most."""
    if layout.pipeline == 1:
        return 1
    enough = min(micro_batches, 4 * layout.pipeline)  # more are never held, but by gpipe
    if layout.schedule == "gpipe":
        return micro_batches
    return _most_held(layout.schedule, layout.pipeline, enough - enough % layout.pipeline or enough, place)


@cache
def _most_held(schedule: PipelineSchedule, pipeline: int, micro_batches: int, place: int) -> float:
    return order_of(schedule, pipeline, micro_batches).most_held(place)


def exchanged(layout: Layout, gathered: int, block: int, layers: int, gradients: int) -> int:
    """Bytes of weights that are gathered for a while, or of gradients on their way.

    Args:
        gathered: of all weights of the process where it computes.
        block: of those of one block.
        layers: blocks of the process.
        gradients: of all gradients.
    """
    if layout.shards > 1:
        there = layers if layout.pipeline > 1 else min(2, layers)  # one computes, the next is gathered
        return gathered + (there + 1 - layers) * block
    return gradients if layout.data * layout.context > 1 else 0
