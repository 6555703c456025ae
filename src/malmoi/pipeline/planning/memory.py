"""How much memory each process needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from functools import cache

from malmoi.models.gpt_config import GPTConfig
from malmoi.objectives.linear_cross_entropy import LEAST_ROWS, LOGITS
from malmoi.parallel.schedule import order_of
from malmoi.pipeline.planning.block_costs import block_costs
from malmoi.pipeline.planning.job import Job
from malmoi.pipeline.planning.shapes import Part, name_in_first_block, process_parts, state_bytes

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


def process_memory(job: Job, place: int) -> Memory:
    """Of the fullest process of a place in the pipeline."""
    parts = process_parts(job.config, job.layout, place)
    states = state_bytes(job.config, job.optimizer)
    gathered = 4 * _sum(parts, lambda part: part.numbers_gathered)
    kept = 4 * _sum(parts, lambda part: part.numbers)
    accumulates = job.micro_batches > 1
    return Memory(
        kept,
        gathered if accumulates else kept,
        _sum(parts, lambda part: part.numbers * states[name_in_first_block(part.name)]),
        _activations(job, place, parts),
        _buffers(job, place, parts, gathered),
        accumulates,
    )


def fullest(job: Job) -> Memory:
    """Of the process that needs most: at the beginning of a pipeline micro-batches wait longest, at its end is the head."""
    places = sorted({0, job.layout.pipeline // 2, job.layout.pipeline - 1})
    return max((process_memory(job, place) for place in places), key=lambda memory: memory.peak)


def held_micro_batches(job: Job, place: int) -> float:
    """Micro-batches whose activations a process keeps at most."""
    layout = job.layout
    if layout.pipeline == 1:
        return 1
    enough = min(job.micro_batches, 4 * layout.pipeline)  # more are never held, but by gpipe
    if layout.schedule == "gpipe":
        return job.micro_batches
    return _most_held(layout.schedule, layout.pipeline, enough - enough % layout.pipeline or enough, place)


@cache
def _most_held(schedule: str, pipeline: int, micro_batches: int, place: int) -> float:
    return order_of(schedule, pipeline, micro_batches).most_held(place)  # type: ignore[arg-type]


def kept_by_block(job: Job) -> float:
    """Bytes that a block keeps of one micro-batch, the mean of those that recompute and those that do not."""
    share = job.recomputed_share
    all_of_it = block_costs(job.block).kept
    if not share:
        return all_of_it
    less = block_costs(replace(job.block, recompute=job.recomputed_part)).kept
    return share * less + (1 - share) * all_of_it


def _activations(job: Job, place: int, parts: list[Part]) -> int:
    layers = len({part.layer for part in parts if part.layer is not None})
    kept = held_micro_batches(job, place) * layers * kept_by_block(job)
    if place == job.layout.pipeline - 1:
        kept += after_blocks(job.config, job.tokens, job.layout.tensor)
    return int(kept)


def after_blocks(config: GPTConfig, tokens: int, tensor: int) -> int:
    """Bytes that the last norm and the loss keep: the loss computes its gradients in the forward pass."""
    return (
        4 * tokens * (config.width + 1) + 4 * tokens * config.width + 4 * -(-config.vocabulary // tensor) * config.width
    )


def _buffers(job: Job, place: int, parts: list[Part], gathered: int) -> int:
    layout, last = job.layout, place == job.layout.pipeline - 1
    buffers = 0
    if job.shards > 1:
        of_blocks = 4 * _sum(parts, lambda part: part.numbers_gathered if part.layer is not None else 0)
        layers = len({part.layer for part in parts if part.layer is not None})
        there = layers if layout.pipeline > 1 else min(2, layers)  # one computes, the next one is gathered
        buffers += gathered - of_blocks + (there + 1) * of_blocks // max(1, layers)
    elif layout.data * layout.context > 1:
        buffers += gathered  # gradients on their way
    if last:
        vocabulary = -(-job.config.vocabulary // layout.tensor)
        buffers += 12 * vocabulary * min(job.tokens, max(LEAST_ROWS, LOGITS // vocabulary))
    if job.recompute:
        buffers += block_costs(job.block).kept
    return buffers


def _sum(parts: list[Part], of: Callable[[Part], int]) -> int:
    return sum(of(part) for part in parts)


def as_dict(memory: Memory) -> dict[str, int]:
    """Its parts by name, in bytes."""
    names = ("parameters", "gradients", "states", "activations", "buffers")
    return dict(zip(names, astuple(memory), strict=False)) | {"peak": memory.peak}
