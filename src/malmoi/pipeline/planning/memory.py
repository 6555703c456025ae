"""How much memory each process needs."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from functools import cache

from malmoi.models.gpt_config import GPTConfig
from malmoi.objectives.linear_cross_entropy import rows_at_once
from malmoi.parallel.layout import PipelineSchedule
from malmoi.parallel.schedule import order_of
from malmoi.pipeline.planning.block_costs import block_costs
from malmoi.pipeline.planning.job import Job
from malmoi.pipeline.planning.shapes import Sizes

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
    sizes = job.sizes(place)
    accumulates = job.micro_batches > 1
    return Memory(
        4 * sizes.kept,
        4 * (sizes.gathered if accumulates else sizes.kept),
        sizes.states,
        _activations(job, place, sizes),
        _buffers(job, place, sizes),
        accumulates,
    )


def fullest(job: Job) -> Memory:
    """Of the process that needs most: at a pipeline's beginning micro-batches wait longest, at its end is the head."""
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
def _most_held(schedule: PipelineSchedule, pipeline: int, micro_batches: int, place: int) -> float:
    return order_of(schedule, pipeline, micro_batches).most_held(place)


def kept_by_block(job: Job) -> float:
    """Bytes that a block keeps of one micro-batch, the mean of those that recompute and those that do not."""
    share = job.recomputed_share
    all_of_it = block_costs(job.block).kept
    if not share:
        return all_of_it
    less = block_costs(replace(job.block, recompute=job.recomputed_part)).kept
    return share * less + (1 - share) * all_of_it


def _activations(job: Job, place: int, sizes: Sizes) -> int:
    kept = held_micro_batches(job, place) * sizes.layers * kept_by_block(job)
    if place == job.layout.pipeline - 1:
        kept += after_blocks(job.config, job.tokens, job.layout.tensor)
    return int(kept)


def after_blocks(config: GPTConfig, tokens: int, tensor: int) -> int:
    """Bytes that the last norm and the loss keep: the loss computes its gradients in the forward pass."""
    of_weight = -(-config.vocabulary // tensor) * config.width
    return 4 * (tokens * (config.width + 1) + tokens * config.width + of_weight)


def _buffers(job: Job, place: int, sizes: Sizes) -> int:
    layout, buffers = job.layout, 0
    if job.shards > 1:
        there = sizes.layers if layout.pipeline > 1 else min(2, sizes.layers)  # one computes, the next is gathered
        ends = sizes.gathered - sizes.layers * sizes.gathered_block
        buffers += 4 * (ends + (there + 1) * sizes.gathered_block)
    elif layout.data * layout.context > 1:
        buffers += 4 * sizes.gathered  # gradients on their way
    logits = recomputed = 0
    if place == layout.pipeline - 1:
        vocabulary = -(-job.config.vocabulary // layout.tensor)
        logits = 8 * vocabulary  # float32, and once more for their logarithms
        logits *= min(job.tokens, rows_at_once(vocabulary, job.device))
    if job.recompute:
        recomputed = block_costs(job.block).kept - block_costs(replace(job.block, recompute=job.recomputed_part)).kept
        bytes_each = 4 if job.precision == "float32" else 2
        recomputed += (
            3 * bytes_each * job.tokens * job.config.feed_forward // layout.tensor
        )  # gradients on their way down
    return buffers + max(logits, recomputed)


def as_dict(memory: Memory) -> dict[str, int]:
    """Its parts by name, in bytes."""
    names = ("parameters", "gradients", "states", "activations", "buffers")
    return dict(zip(names, astuple(memory), strict=False)) | {"peak": memory.peak}
