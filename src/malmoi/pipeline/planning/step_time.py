"""How long a step takes, and which share of the devices' peak that is.

A process computes for as long as its matrix products, its attention and the memory traffic of everything else take, one
after the other; it waits for what is sent and not hidden behind that, and in a pipeline for the others. The constants
below are the same for every model, layout and device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import count_parameters
from malmoi.parallel.layout import PipelineSchedule
from malmoi.parallel.schedule import idle_share, order_of, simulate
from malmoi.pipeline.planning.block_costs import block_costs
from malmoi.pipeline.planning.communication import Traffic, step_traffic
from malmoi.pipeline.planning.hardware import Device
from malmoi.pipeline.planning.job import Job

PRODUCTS = 0.6
"""Share of the peak that the matrix products of a whole training reach, pauses between kernels included. Calibrated."""

ATTENTION = 0.35
"""Share that the attention kernel reaches: FlashAttention-2 on an H100, by Shah and others 2024 (arXiv:2407.08608)."""

MEMORY = 0.8
"""Share of the memory's bandwidth that simple kernels reach. An assumption."""

FUSED = 0.45
"""Share of the traffic that is left where kernels are fused. Calibrated on torchtitan's 8B, compiled and not."""

OVERLAP = 0.8
"""Share of an exchange that hides behind products where it runs beside them. Calibrated."""

LOGIT_BYTES = 32
"""Memory traffic of one logit, from its product to its gradient, float32 softmax and casts."""

UPDATE_BYTES = 40
"""Memory traffic of one number at the update: gradient measured and scaled, AdamW reads four and writes three."""


@dataclass(frozen=True)
class StepTime:
    """Seconds of a step on the process that takes longest; they add up.

    Attributes:
        products, attention, traffic: of the blocks and the head.
        tensor, context, shard, data, pipeline: waiting for what is sent along an axis.
        idle: waiting for the rest of a pipeline.
        update: of the weights.
        bubble: share of the forward and backward passes that a process of the pipeline is idle.
    """

    products: float
    attention: float
    traffic: float
    tensor: float
    context: float
    shard: float
    data: float
    pipeline: float
    idle: float
    update: float
    bubble: float

    @property
    def whole(self) -> float:
        """Of a step."""
        parts = (self.products, self.attention, self.traffic, self.idle, self.update)
        return sum(parts) + self.tensor + self.context + self.shard + self.data + self.pipeline


def step_time(job: Job, device: Device) -> StepTime:
    """How long a step takes on such devices."""
    sent, times = step_traffic(job, device), _passes(job, device)
    micro_batches = job.micro_batches
    computing = sum(times.values())
    tensor, context = (
        _waiting(sent, axis, job.software.overlaps_tensor, computing * micro_batches) for axis in ("tensor", "context")
    )
    one = computing + (tensor + context) / micro_batches
    bubble = pipeline_bubble(job)
    backward = one * 2 / 3
    return StepTime(
        micro_batches * times["products"],
        micro_batches * times["attention"],
        micro_batches * times["traffic"],
        tensor,
        context,
        _waiting(sent, "shard", True, one * micro_batches),
        _waiting(sent, "data", job.software.overlaps_data or job.layout.pipeline == 1, backward),
        _waiting(sent, "pipeline", True, one * micro_batches),
        micro_batches * one * bubble / (1 - bubble),
        _update(job, device),
        bubble,
    )


def step_operations(config: GPTConfig, rows: int, length: int) -> float:
    """Operations of a step as shares of peaks are published: 6 N + 12 L d s a token.

    Chowdhery and others 2022 (PaLM), arXiv:2204.02311, appendix B. N leaves out an embedding table that multiplies
    nothing; L d s counts all keys of a row, also those that a causal model does not look at; nothing that is computed
    again counts.
    """
    idle_rows = config.bigram_buckets
    idle_rows += 0 if config.tied else config.vocabulary
    idle_rows += config.context if config.positions == "learned" else 0
    table = idle_rows * config.width
    attended = 12 * config.layers * config.heads * config.head_width * length
    return float(rows * length * (6 * (count_parameters_once(config) - table) + attended))


@cache
def count_parameters_once(config: GPTConfig) -> int:
    """`count_parameters`, remembered."""
    return count_parameters(config)


def pipeline_bubble(job: Job) -> float:
    """Share of the forward and backward passes that a process waits for the rest of the pipeline."""
    processes, schedule = job.layout.pipeline, job.layout.schedule
    if processes == 1:
        return 0.0
    if job.software.chunks is not None:  # more chunks than this project's schedules have
        return (processes - 1) / (job.software.chunks * job.micro_batches + processes - 1)
    few = min(job.micro_batches, 4 * processes)
    few = few - few % processes or few
    idle = _idle_micro_batches(schedule, processes, few)
    return idle / (idle + job.micro_batches)


@cache
def _idle_micro_batches(schedule: PipelineSchedule, processes: int, micro_batches: int) -> float:
    """How many more micro-batches a process could have computed; that does not grow with their number."""
    share = idle_share(simulate(order_of(schedule, processes, micro_batches)))
    return micro_batches * share / (1 - share)


def _passes(job: Job, device: Device) -> dict[str, float]:
    """Seconds of the forward and backward pass of a micro-batch, on the process with most to do."""
    costs, layout = block_costs(job.block), job.layout
    layers = -(-job.config.layers // layout.pipeline)
    again = _again(job)
    logits = job.tokens * -(-job.config.vocabulary // layout.tensor)
    products = layers * (3 + again[0]) * costs.products + 6 * logits * job.config.width
    attention = layers * (3.5 + again[1]) * costs.attention
    traffic = layers * ((1 + again[2]) * costs.traffic_forward + costs.traffic_backward) + LOGIT_BYTES * logits
    traffic *= FUSED if job.software.fused else 1
    if job.micro_batches > 1:
        traffic += 12 * job.sizes(0).gathered
    speed = device.peak * device.clock * (0.5 if job.precision == "float32" else 1)
    return {
        "products": products / (speed * PRODUCTS),
        "attention": attention / (speed * ATTENTION),
        "traffic": traffic / (device.bandwidth * MEMORY),
    }


def _again(job: Job) -> tuple[float, float, float]:
    """Shares of a block's forward products, attention and traffic that the backward pass repeats."""
    if job.software.again is not None:
        return job.software.again
    config, share = job.config, job.recomputed_share
    feed = config.feed_forward * config.width * (3 if config.activation == "swiglu" else 2)
    whole = feed + 2 * config.width * config.head_width * (config.heads + config.key_value_heads)
    part = {"": 0.0, "blocks": 1.0, "feed_forward": feed / whole, "attention": 1 - feed / whole}
    products = share * part.get(job.recomputed_part, 1.0)
    return products, share * (job.recomputed_part in ("blocks", "attention")), products


def _waiting(sent: dict[str, Traffic], axis: str, overlaps: bool, beside: float) -> float:
    """Seconds of an exchange that are not hidden; it cannot hide behind less than it takes."""
    if axis not in sent:
        return 0.0
    seconds = sent[axis].seconds
    return max((1 - OVERLAP) * seconds, seconds - beside) if overlaps else seconds


def _update(job: Job, device: Device) -> float:
    """Seconds of the optimizers' step."""
    sizes = job.sizes(0)
    seconds = UPDATE_BYTES * sizes.kept / (device.bandwidth * MEMORY)
    if job.optimizer.optimizer == "muon":
        sides = [(min(shape), max(shape)) for shape in sizes.matrices]
        operations = sizes.layers * sum(5 * (4 * short**2 * long + 2 * short**3) for short, long in sides)
        seconds += operations / (job.layout.replicas * device.peak * device.clock / 8 * PRODUCTS)
    return seconds
