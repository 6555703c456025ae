"""What the processes send each other in a step, and how long the links take for it."""

from __future__ import annotations

from dataclasses import dataclass

from malmoi.parallel.layout import AXES, Layout
from malmoi.pipeline.planning.hardware import Device
from malmoi.pipeline.planning.job import Job

LINK = 0.8
"""Share of a link's bandwidth that large collectives reach: NCCL's own tests give 360 to 370 of 450 GB/s on eight H100
(https://github.com/NVIDIA/nccl-tests). Latencies are left out."""


@dataclass(frozen=True)
class Traffic:
    """What one process sends along an axis in a step.

    Attributes:
        bytes: in one direction.
        seconds: that the slowest link on the way takes, whether anything else happens meanwhile or not.
    """

    bytes: float
    seconds: float


def step_traffic(job: Job, device: Device) -> dict[str, Traffic]:
    """By axis, of the process in the middle of the pipeline's busiest end; axes of one process are left out."""
    sent = {
        "tensor": _tensor(job),
        "context": _context(job),
        "shard": _shard(job),
        "data": _data(job),
        "pipeline": _pipeline(job),
    }
    return {
        axis: Traffic(amount, amount / bus_speed(job.layout, axis, device)) for axis, amount in sent.items() if amount
    }


def bus_speed(layout: Layout, axis: str, device: Device) -> float:
    """Bytes a second that each process of a group along `axis` can send to its neighbour in a ring.

    Inner axes fill a node first. Where a ring leaves the node, every member in it brings its own link to the outside.
    """
    inner = 1
    for other in reversed(AXES):
        if other == axis:
            break
        inner *= getattr(layout, other)
    if inner * getattr(layout, axis) <= device.node:
        return LINK * device.inside
    members = max(1, device.node // inner) if axis != "pipeline" else 1
    return LINK * min(device.inside, members * device.outside)


def _layers(job: Job) -> int:
    return -(-job.config.layers // job.layout.pipeline)


def _tensor(job: Job) -> float:
    """Two layers a block, each between a gathering and a scattering; backward it is the other way round."""
    size = job.layout.tensor
    hidden, product = _number_bytes(job)
    one_way = 2 * (hidden + product) * job.tokens * job.config.width * (size - 1) / size
    passes = 2 + (job.recomputed_share if job.recomputed_part else 0)
    ends = 4 * hidden * job.tokens * job.config.width * (size - 1) / size  # the embedding's sum, the last gathering
    return job.micro_batches * (passes * one_way * _layers(job) + ends)


def _context(job: Job) -> float:
    """Keys and values of the whole row, which heads share."""
    size, config = job.layout.context, job.config
    _, product = _number_bytes(job)
    heads = config.key_value_heads // job.layout.tensor
    once = 2 * product * job.micro_rows * job.length * heads * config.head_width * (size - 1) / size
    passes = 2 + (job.recomputed_share if job.recomputed_part in ("blocks", "attention") else 0)
    return job.micro_batches * passes * once * _layers(job)


def _shard(job: Job) -> float:
    """Weights are gathered for each forward and backward pass (in a pipeline once a step), gradients dealt out once."""
    if job.layout.shards == 1:
        return 0.0
    numbers = job.sizes(0).gathered * (job.layout.shards - 1) / job.layout.shards
    gatherings = 1 if job.layout.pipeline > 1 else 2 * job.micro_batches
    return numbers * (gatherings * job.software.weight_bytes + 4)


def _data(job: Job) -> float:
    """Gradients are added up over the replicas: dealt out, added, and gathered."""
    layout = job.layout
    size = layout.data if job.layout.shards > 1 else layout.data * layout.context
    numbers = job.sizes(0).gathered / job.layout.shards
    return numbers * (4 + job.software.weight_bytes) * (size - 1) / size


def _pipeline(job: Job) -> float:
    """Hidden states up, their gradients down, at every border of two chunks."""
    if job.layout.pipeline == 1:
        return 0.0
    hidden, _ = _number_bytes(job)
    width = job.config.width / (job.layout.tensor if job.software.sends_parts else 1)
    tokens = job.micro_rows * job.length  # also of rows that are divided among processes
    return 2 * job.chunks * job.micro_batches * tokens * width * hidden


def _number_bytes(job: Job) -> tuple[int, int]:
    """Of a hidden state between blocks, and of what products give."""
    product = 4 if job.precision == "float32" else 2
    return (4 if job.software.autocast else product), product
