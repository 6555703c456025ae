"""Which part of every parameter each process of a layout has."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache

from malmoi.models.gpt_config import GPTConfig
from malmoi.models.model import Model
from malmoi.models.registry import meta_model
from malmoi.parallel.layout import Layout, PipelineSchedule
from malmoi.parallel.parts import divided, sharded
from malmoi.parallel.schedule import layer_ranges
from malmoi.train.optimizers import OptimizerSettings
from malmoi.train.shared_training import state_bytes
from malmoi.train.weighing import without_memory

_BLOCK = re.compile(r"blocks\.(\d+)\.")
_BELOW = ("embedding", "positions", "bigram")


@dataclass(frozen=True)
class Part:
    """What one process has of a parameter.

    Attributes:
        name: of the parameter.
        layer: number of the block, None outside of blocks.
        whole: its shape in the model.
        gathered: its shape where the process computes: after tensor, before shard.
        kept: its shape where nothing is computed.
    """

    name: str
    layer: int | None
    whole: tuple[int, ...]
    gathered: tuple[int, ...]
    kept: tuple[int, ...]

    @property
    def numbers(self) -> int:
        """How many of them are kept."""
        return math.prod(self.kept)

    @property
    def numbers_gathered(self) -> int:
        """How many of them there are where the process computes."""
        return math.prod(self.gathered)


@dataclass(frozen=True)
class Sizes:
    """What the fullest process of a place has.

    Attributes:
        layers: blocks.
        kept, gathered: numbers where nothing is computed, and where something is.
        gathered_block: the latter of one block.
        states: bytes that the optimizers remember.
        matrices: shapes of the matrices of a block where it computes.
    """

    layers: int
    kept: int
    gathered: int
    gathered_block: int
    states: int
    matrices: tuple[tuple[int, ...], ...]


@cache
def process_sizes(
    config: GPTConfig,
    tensor: int,
    shards: int,
    pipeline: int,
    schedule: PipelineSchedule,
    place: int,
    optimizer: OptimizerSettings,
) -> Sizes:
    """Sums over the parts of the fullest process (the first along tensor and shards) of a place in the pipeline."""
    states = _state_bytes(config, optimizer)
    layers = len(_layers_at(config.layers, pipeline, schedule, place))
    block = [_part(name, 0, shape, tensor, shards) for name, layer, shape in _parameters(config) if layer is not None]
    ends = [
        _part(name, None, shape, tensor, shards)
        for name, layer, shape in _parameters(config)
        if layer is None and place in _places_of_end(name, config, pipeline)
    ]
    all_parts = [(part, layers) for part in block] + [(part, 1) for part in ends]
    return Sizes(
        layers,
        sum(times * part.numbers for part, times in all_parts),
        sum(times * part.numbers_gathered for part, times in all_parts),
        sum(part.numbers_gathered for part in block),
        sum(times * part.numbers * states[part.name] for part, times in all_parts),
        tuple(part.gathered for part in block if len(part.gathered) == 2),
    )


@cache
def matrix_numbers(config: GPTConfig, part: str, tensor: int) -> int:
    """How many numbers the matrices of a block ("blocks") or of a part of it have where a process computes."""
    inside = "blocks." if part == "blocks" else f".{part}."
    parts = (_part(name, 0, shape, tensor, 1) for name, _, shape in _parameters(config) if inside in name)
    return sum(one.numbers_gathered for one in parts if len(one.whole) == 2)


def process_parts(config: GPTConfig, layout: Layout, place: int) -> list[Part]:
    """Every parameter of the fullest process of a place in the pipeline."""
    parts = []
    for name, layer, shape in _parameters(config):
        if layer is None:
            if place in _places_of_end(name, config, layout.pipeline):
                parts.append(_part(name, None, shape, layout.tensor, layout.shards))
        else:
            for own in _layers_at(config.layers, layout.pipeline, layout.schedule, place):
                parts.append(_part(_BLOCK.sub(f"blocks.{own}.", name), own, shape, layout.tensor, layout.shards))
    return parts


@cache
def _first_block(config: GPTConfig) -> Model:
    """The model with its first block alone, without memory: all blocks are alike."""
    return meta_model(config.model_copy(update={"layers": 1, "attention": config.attention[:1]}))


@cache
def _state_bytes(config: GPTConfig, settings: OptimizerSettings) -> dict[str, int]:
    return state_bytes(without_memory(_first_block(config)), settings)


@cache
def _parameters(config: GPTConfig) -> tuple[tuple[str, int | None, tuple[int, ...]], ...]:
    """Name, block and shape of every parameter of the first block and outside of blocks."""
    return tuple(
        (name, 0 if _BLOCK.search(name) else None, tuple(parameter.shape))
        for name, parameter in _first_block(config).named_parameters()
    )


def _part(name: str, layer: int | None, shape: tuple[int, ...], tensor: int, shards: int) -> Part:
    gathered = divided(name, shape, tensor)
    return Part(name, layer, shape, gathered, sharded(gathered, shards))


def _layers_at(layers: int, pipeline: int, schedule: PipelineSchedule, place: int) -> list[int]:
    """The blocks of a place: chunk c is with place c % pipeline."""
    if pipeline == 1:
        return list(range(layers))
    return [layer for chunk in layer_ranges(layers, schedule, pipeline)[place::pipeline] for layer in chunk]


def _places_of_end(name: str, config: GPTConfig, pipeline: int) -> tuple[int, ...]:
    """Where a parameter outside of blocks is; a tied embedding is at both ends."""
    if not name.startswith(_BELOW):
        return (pipeline - 1,)
    return (0, pipeline - 1) if name == "embedding.weight" and config.tied else (0,)
