"""What is planned: a training, and how it is divided."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from malmoi.models.gpt_config import GPTConfig
from malmoi.parallel.layout import Layout
from malmoi.parallel.schedule import chunks_of
from malmoi.pipeline.planning.block_costs import LocalBlock
from malmoi.pipeline.planning.shapes import Sizes, process_sizes
from malmoi.train.optimizers import OptimizerSettings
from malmoi.train.precision import Precision


@dataclass(frozen=True)
class Software:
    """How the processes compute and what they send; the defaults are this project's way.

    Attributes:
        autocast: weights and hidden states between blocks are float32, and cast for every product.
        fused: neighbouring operations run as one kernel, as compilers and hand-written kernels do.
        overlaps_tensor: exchanges of tensor parallelism run beside products.
        overlaps_data: gradients are added up over the replicas while a pipeline still runs.
        sends_parts: each process along tensor sends its part of the hidden states up a pipeline, not all of them.
        weight_bytes: of a number when weights are gathered.
        chunks: parts of the model a process of a pipeline has; None as the schedule says.
        again: shares of the forward pass's products, attention and other traffic that are computed once more; None as
            `recompute` says.
    """

    autocast: bool = True
    fused: bool = False
    overlaps_tensor: bool = False
    overlaps_data: bool = False
    sends_parts: bool = False
    weight_bytes: int = 4
    chunks: int | None = None
    again: tuple[float, float, float] | None = None


OURS = Software()
ADAMW = OptimizerSettings(optimizer="adamw")


@dataclass(frozen=True)
class Job:
    """A training in a layout.

    Attributes:
        rows: of a step.
        micro_rows: rows of a micro-batch, of one replica.
        length: tokens of a row.
        recompute: see `TrainerSettings`.
        device: kind of the devices, as in `torch.device.type`.
    """

    config: GPTConfig
    layout: Layout
    rows: int
    micro_rows: int
    length: int
    precision: Precision = "bfloat16"
    recompute: str = ""
    optimizer: OptimizerSettings = ADAMW
    software: Software = OURS
    device: str = "cuda"

    @property
    def micro_batches(self) -> int:
        """That one replica computes in a step."""
        return self.rows // (self.layout.replicas * self.micro_rows)

    @property
    def tokens(self) -> int:
        """Of a micro-batch, on one process."""
        return self.micro_rows * self.length // self.layout.context

    @property
    def chunks(self) -> int:
        """Parts of the model that a process of the pipeline has."""
        return self.software.chunks or chunks_of(self.layout.schedule)

    @property
    def recomputed_part(self) -> str:
        """ "blocks", or a part of them, or nothing."""
        return self.recompute.partition(":")[0]

    @property
    def recomputed_share(self) -> float:
        """Share of the blocks that recompute."""
        return 1 / int(self.recompute.partition(":")[2] or 1) if self.recompute else 0.0

    def sizes(self, place: int) -> Sizes:
        """What the fullest process of a place in the pipeline has."""
        layout = self.layout
        return process_sizes(
            self.config, layout.tensor, layout.shards, layout.pipeline, layout.schedule, place, self.optimizer
        )

    @cached_property
    def block(self) -> LocalBlock:
        """A block of one process, with nothing computed again."""
        layout = self.layout
        return LocalBlock(
            self.config,
            self.micro_rows,
            self.length,
            layout.tensor,
            layout.context,
            self.precision,
            self.software.autocast,
        )
