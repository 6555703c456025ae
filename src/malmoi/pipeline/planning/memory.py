"""How much memory each process needs."""

from __future__ import annotations

from dataclasses import astuple, replace

from malmoi.models.gpt_config import GPTConfig
from malmoi.objectives.linear_cross_entropy import rows_at_once
from malmoi.parallel.memory import Memory, exchanged, held_micro_batches
from malmoi.pipeline.planning.block_costs import block_costs
from malmoi.pipeline.planning.job import Job
from malmoi.pipeline.planning.shapes import Sizes, matrix_numbers


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


def kept_by_block(job: Job) -> float:
    """Bytes that a block keeps of one micro-batch, the mean of those that recompute and those that do not."""
    share = job.recomputed_share
    all_of_it = block_costs(job.block).kept
    if not share:
        return all_of_it
    less = block_costs(replace(job.block, recompute=job.recomputed_part)).kept
    return share * less + (1 - share) * all_of_it


def _activations(job: Job, place: int, sizes: Sizes) -> int:
    kept = held_micro_batches(job.layout, job.micro_batches, place) * sizes.layers * kept_by_block(job)
    if place == job.layout.pipeline - 1:
        kept += after_blocks(job.config, job.tokens, job.layout.tensor)
    return int(kept)


def after_blocks(config: GPTConfig, tokens: int, tensor: int) -> int:
    """Bytes that the last norm and the loss keep: the loss computes its gradients in the forward pass."""
    of_weight = -(-config.vocabulary // tensor) * config.width
    return 4 * (tokens * (config.width + 1) + tokens * config.width + of_weight)


def _buffers(job: Job, place: int, sizes: Sizes) -> int:
    layout = job.layout
    gathered = 4 * sizes.gathered
    buffers = exchanged(layout, gathered, 4 * sizes.gathered_block, sizes.layers, gathered)
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
    return buffers + max(logits + _casts(job, sizes), recomputed)


def _casts(job: Job, sizes: Sizes) -> int:
    """Bytes of the weights of what is computed again, in the format of products: autocast has them until the loss."""
    if not job.recompute or job.precision == "float32" or not job.software.autocast:
        return 0
    numbers = matrix_numbers(job.config, job.recomputed_part, job.layout.tensor)
    return int(2 * sizes.layers * job.recomputed_share * numbers)


def as_dict(memory: Memory) -> dict[str, int]:
    """Its parts by name, in bytes."""
    names = ("parameters", "gradients", "states", "activations", "buffers")
    return dict(zip(names, astuple(memory), strict=False)) | {"peak": memory.peak}
