"""Whether a layout suits a model, a number of processes and a batch; if not, the nearest ones that do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from malmoi.core.errors import UserError
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.model import ModelConfig
from malmoi.models.seq2seq_config import EncoderDecoderConfig
from malmoi.parallel.layout import AXES, Layout

STAGES_A_PROCESS = {"gpipe": 1, "1f1b": 1, "interleaved": 2, "zero-bubble": 2}
"""How many parts of the model a process of a pipeline has, by schedule."""


@dataclass(frozen=True)
class Work:
    """What a layout has to divide.

    Attributes:
        config: of the model.
        processes: in all.
        rows: of a step, over all processes and micro-batches; None where that is not known.
        length: tokens of a row; None where rows differ.
    """

    config: ModelConfig
    processes: int
    rows: int | None = None
    length: int | None = None


def check_layout(work: Work, layout: Layout) -> None:
    """Refuse a layout that does not divide what it has to.

    Raises:
        UserError: says what does not divide, and names the nearest layout that works.
    """
    problem = layout_problem(work, layout)
    if problem:
        near = nearest_layouts(work, layout)
        way_out = f"The nearest that works: {_settings(near[0])}." if near else "Take another number of processes."
        raise UserError(problem, way_out)


def layout_problem(work: Work, layout: Layout) -> str:
    """The first thing that does not divide, in a sentence; nothing where all does."""
    config, axes = work.config, layout
    if axes.processes != work.processes:
        return f"The layout {axes} takes {axes.processes} processes, and there are {work.processes}."
    if axes.tensor > 1 and not isinstance(config, GPTConfig | EncoderConfig | EncoderDecoderConfig):
        return "A model without attention has no heads that tensor could divide."
    for size, what in _tensor_parts(config):
        if size % axes.tensor:
            return f"tensor={axes.tensor} does not divide the {size} {what} of the model."
    if axes.pipeline > 1:
        problem = _pipeline_problem(config, axes)
        if problem:
            return problem
    if axes.context > 1 and not isinstance(config, GPTConfig):
        return "Only a decoder-only transformer can divide its rows with context."
    if work.length is not None and work.length % axes.context:
        return f"context={axes.context} does not divide a row of {work.length} tokens."
    if work.rows is not None and work.rows % axes.replicas:
        return f"data x shard = {axes.replicas} does not divide the {work.rows} rows of a step."
    return ""


def nearest_layouts(work: Work, layout: Layout, count: int = 3) -> list[Layout]:
    """The layouts of the same number of processes that work and change least, the nearest first.

    Near means: few axes changed, and those by small factors.
    """
    able = [other for other in possible_layouts(work, layout.schedule) if not layout_problem(work, other)]
    return sorted(able, key=lambda other: _distance(layout, other))[:count]


def possible_layouts(work: Work, schedule: str = "1f1b") -> Iterator[Layout]:
    """Every layout that divides the processes, the model and the batch."""
    for sizes in _factorizations(work.processes, len(AXES)):
        values = dict(zip(AXES, sizes, strict=True))
        layout = Layout.model_validate({**values, "schedule": schedule})
        if not layout_problem(work, layout):
            yield layout


def layers_of(config: ModelConfig) -> int:
    """How many blocks a pipeline divides: those of both stacks of an encoder-decoder."""
    if isinstance(config, EncoderDecoderConfig):
        return config.layers + config.decoder_layers
    return config.depth


def _tensor_parts(config: ModelConfig) -> list[tuple[int, str]]:
    """What a tensor axis divides, how many of what; the vocabulary may be divided unevenly."""
    names = {"heads": "heads", "key_value_heads": "key/value heads", "feed_forward": "feed-forward units"}
    return [(getattr(config, name), words) for name, words in names.items() if hasattr(config, name)]


def _pipeline_problem(config: ModelConfig, layout: Layout) -> str:
    layers, stages = layers_of(config), layout.pipeline * STAGES_A_PROCESS[layout.schedule]
    if isinstance(config, GPTConfig) and config.reversible:
        return "The blocks of a reversible model cannot be divided by a pipeline."
    if layers == 0:
        return "A model without blocks cannot be divided by a pipeline."
    if layers % stages:
        each = f" in {stages} parts" if stages != layout.pipeline else ""
        return f"pipeline={layout.pipeline}{each} does not divide the {layers} layers of the model."
    return ""


def _distance(wanted: Layout, other: Layout) -> tuple[int, float, int, int]:
    """Axes changed, by which factors; of equals the one that changes the simplest axes, data before shard."""
    pairs = [(getattr(wanted, axis), getattr(other, axis)) for axis in AXES]
    changed = sum(one != two for one, two in pairs)
    factors = sum(abs(math.log2(one / two)) for one, two in pairs)
    return changed, factors, other.context * other.tensor * other.pipeline, other.shard


def _settings(layout: Layout) -> str:
    """As it is written: {data: 2, tensor: 4}."""
    sizes = [f"{axis}: {size}" for axis in AXES if (size := getattr(layout, axis)) > 1]
    return "{" + ", ".join(sizes) + "}" if sizes else "one process"


@cache
def _factorizations(number: int, parts: int) -> tuple[tuple[int, ...], ...]:
    """Every way to write a number as a product of so many factors, in order."""
    if parts == 1:
        return ((number,),)
    divisors = [size for size in range(1, number + 1) if number % size == 0]
    return tuple((size, *rest) for size in divisors for rest in _factorizations(number // size, parts - 1))
