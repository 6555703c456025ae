"""Whether a layout suits a model, a number of processes and a batch; if not, the nearest ones that do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial

from malmoi.core.errors import UserError
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.model import ModelConfig
from malmoi.models.seq2seq_config import EncoderDecoderConfig
from malmoi.parallel.layout import AXES, Layout
from malmoi.parallel.schedule import check_micro_batches, layer_ranges


@dataclass(frozen=True)
class Work:
    """What a layout has to divide.

    Attributes:
        config: of the model; None for one that is no family's, and only its rows and parameters can be shared.
        processes: in all.
        rows: of a step, over all processes and micro-batches; None where that is not known.
        slots: micro-batches of a step, over all replicas; None where that is not known.
    """

    config: ModelConfig | None
    processes: int
    rows: int | None = None
    slots: int | None = None


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
    problems = (
        _tensor_problem(config, axes.tensor) if axes.tensor > 1 else "",
        _context_problem(config, axes) if axes.context > 1 else "",
        _pipeline_problem(work, axes) if axes.pipeline > 1 else "",
    )
    problem = next(filter(None, problems), "")
    if not problem and work.rows is not None and work.rows < axes.replicas:
        return (
            f"A step has {work.rows} rows, too few for data x shard = {axes.replicas} processes with rows of their own."
        )
    return problem


def recomputes_too_often(layout: Layout, recompute: str) -> bool:
    """Whether what is not kept would be computed many times: a zero-bubble pipeline goes back in many parts."""
    return bool(recompute) and layout.pipeline > 1 and layout.schedule == "zero-bubble"


def nearest_layouts(work: Work, layout: Layout, count: int = 3) -> list[Layout]:
    """The layouts of the same number of processes that work and change least, the nearest first.

    Near means: few axes changed, and those by small factors.
    """
    return sorted(possible_layouts(work, layout.schedule), key=partial(_distance, layout))[:count]


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


def _tensor_problem(config: ModelConfig | None, tensor: int) -> str:
    if not isinstance(config, GPTConfig | EncoderConfig | EncoderDecoderConfig):
        return "A model without attention has no heads that tensor could divide."
    for name, words in (("heads", "heads"), ("key_value_heads", "key/value heads")):
        if getattr(config, name, tensor) % tensor:
            return f"tensor={tensor} does not divide the {getattr(config, name)} {words} of the model."
    if isinstance(config, GPTConfig):
        if config.reversible or config.short_convolution:
            return "The tensors of a reversible model, or of one with short convolutions, cannot be divided."
        if any(layer.mix.shares_keys for layer in config.attention):
            return "Hashed attention cannot be divided by tensor."
    return ""


def _context_problem(config: ModelConfig | None, layout: Layout) -> str:
    if not isinstance(config, GPTConfig | EncoderConfig | EncoderDecoderConfig):
        return "Only a model whose tokens meet in attention alone can divide its rows."
    if isinstance(config, GPTConfig):
        if config.reversible or config.short_convolution:
            return "The rows of a reversible model, or of one with short convolutions, cannot be divided."
        if any(layer.mix.keeps_sums for layer in config.attention):
            return "The rows of a model that looks back at sums cannot be divided."
    if isinstance(config, EncoderConfig) and config.global_projections:
        return "The rows of an encoder with global projections cannot be divided."
    if config.context % layout.sequence_parts:
        return f"A row of {config.context} tokens cannot be divided into {layout.sequence_parts} equal pieces."
    return ""


def _pipeline_problem(work: Work, layout: Layout) -> str:
    config = work.config
    if config is None:
        return "The layers of this model cannot be divided."
    if isinstance(config, EncoderDecoderConfig) and layout.schedule == "interleaved" and layout.shard > 1:
        return "The interleaved parts of an encoder-decoder share an embedding, which cannot be sharded twice."
    if isinstance(config, GPTConfig) and config.reversible:
        return "The blocks of a reversible model cannot be divided by a pipeline."
    if layout.schedule == "zero-bubble" and isinstance(config, EncoderDecoderConfig):
        return "A zero-bubble pipeline takes no encoder-decoder."
    try:
        layer_ranges(layers_of(config), layout.schedule, layout.pipeline)
        if work.slots is not None:
            check_micro_batches(layout.schedule, layout.pipeline, layout.micro_batches(work.slots))
    except UserError as error:
        return error.what
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
