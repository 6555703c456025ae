"""How the processes of a training share its work."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PositiveInt

from malmoi.core.config import Settings

PipelineSchedule = Literal["gpipe", "1f1b", "interleaved", "zero-bubble"]

AXES = ("pipeline", "data", "shard", "context", "tensor")
"""The axes of a layout from the outermost to the innermost: neighbours in the last one talk most."""


class Layout(Settings):
    """How many processes share a training along each axis; their product is the number of processes.

    "auto" stands for `automatic`: as many processes as were started, along `data` where the model fits into the memory
    of each, else along `shard`.

    Attributes:
        data: each has all weights and its own rows.
        shard: each keeps a part of weights, gradients and optimizer states, and has its own rows
            (Rajbhandari and others 2020, ZeRO, arXiv:1910.02054).
        tensor: each has some heads, some of the feed-forward's width and a part of the vocabulary, and between them a
            part of the sequence (Shoeybi and others 2019, arXiv:1909.08053; Korthikanti and others 2022,
            arXiv:2205.05198).
        pipeline: each has some of the layers (Huang and others 2019, GPipe, arXiv:1811.06965).
        context: each has two pieces of every row and gathers the keys and values of all
            (Llama 3, arXiv:2407.21783, section 3.3.2).
        schedule: in which order a pipeline's micro-batches go forward and back.
        automatic: the rest follows from the model and the number of processes.
    """

    data: PositiveInt = 1
    shard: PositiveInt = 1
    tensor: PositiveInt = 1
    pipeline: PositiveInt = 1
    context: PositiveInt = 1
    schedule: PipelineSchedule = "1f1b"
    automatic: bool = False

    @property
    def processes(self) -> int:
        """How many processes it takes."""
        return self.replicas * self.context * self.tensor * self.pipeline

    @property
    def replicas(self) -> int:
        """How many of them see rows of their own."""
        return self.data * self.shard

    @property
    def shards(self) -> int:
        """How many processes share each parameter: what a row is divided along shares them too."""
        return self.shard * self.context if self.shard > 1 else 1

    @property
    def sequence_parts(self) -> int:
        """What divides the length of every batch; `context` takes two pieces of a row to each process."""
        return self.tensor * self.context * (2 if self.context > 1 else 1)

    def micro_batches(self, slots: int) -> int:
        """How many a replica computes of a step of `slots` micro-batches; where they do not come out even, parts."""
        return slots // math.gcd(slots, self.replicas)

    def __str__(self) -> str:
        sizes = ((axis, getattr(self, axis)) for axis in AXES)
        words = " x ".join(f"{axis} {size}" for axis, size in sizes if size > 1) or "one process"
        return f"{words}, {self.schedule}" if self.pipeline > 1 and self.schedule != "1f1b" else words


def _automatic(value: Any) -> Any:
    if isinstance(value, dict | Layout):
        return value
    if value == "auto":
        return {"automatic": True}
    raise ValueError("a layout is auto, or the sizes of its axes, such as parallel.data=2")


AnyLayout = Annotated[Layout, BeforeValidator(_automatic)]
"""A layout, or the word "auto"."""

_current: ContextVar[Layout] = ContextVar("layout")


@contextlib.contextmanager
def laid_out(layout: Layout) -> Iterator[None]:
    """Every training inside is shared by processes in this layout.

    It decides nothing of what a training computes, so it is no part of its settings: a run may go on in another one.
    """
    token = _current.set(layout)
    try:
        yield
    finally:
        _current.reset(token)


def current_layout() -> Layout:
    """The layout of trainings that begin now."""
    return _current.get(Layout())
