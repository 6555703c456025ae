"""Which part of every parameter each process of a layout has."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache

from torch._subclasses.fake_tensor import FakeTensorMode

from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import meta_model
from malmoi.parallel.layout import Layout, PipelineSchedule
from malmoi.parallel.schedule import layer_ranges
from malmoi.train.muon import Muon
from malmoi.train.optimizers import OptimizerSettings, build_optimizers

_BLOCK = re.compile(r"blocks\.(\d+)\.")
_COLUMNS = re.compile(r"(attention\.(query|key|value)|feed_forward\.(gate|up))\.(weight|bias)$")
"""Layers whose outputs are divided: the first dimension of weight and bias."""

_ROWS = re.compile(r"(attention\.output|feed_forward\.down)\.weight$")
"""Layers whose inputs are divided: the second dimension; every process has the bias."""

_VOCABULARY = re.compile(r"(embedding|head)\.weight$")
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
    states = state_bytes(config, optimizer)
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


def process_parts(config: GPTConfig, layout: Layout, place: int) -> list[Part]:
    """Every parameter of the fullest process of a place in the pipeline."""
    shards = layout.shard * layout.context if layout.shard > 1 else 1
    parts = []
    for name, layer, shape in _parameters(config):
        if layer is None:
            if place in _places_of_end(name, config, layout.pipeline):
                parts.append(_part(name, None, shape, layout.tensor, shards))
        else:
            for own in _layers_at(config.layers, layout.pipeline, layout.schedule, place):
                parts.append(_part(_BLOCK.sub(f"blocks.{own}.", name), own, shape, layout.tensor, shards))
    return parts


@cache
def state_bytes(config: GPTConfig, settings: OptimizerSettings) -> dict[str, int]:
    """Bytes that the optimizers remember for every number of a parameter, by its name in the first block.

    Which rule updates which parameter is asked of the optimizers themselves, on a model of one block without memory.
    """
    with FakeTensorMode():
        model = GPT(config.model_copy(update={"layers": 1, "attention": config.attention[:1]}))
        optimizers = build_optimizers(model, settings)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    size = 2 if settings.state_precision == "bfloat16" else 4
    return {
        names[id(parameter)]: size if isinstance(optimizer, Muon) else 2 * size
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


@cache
def _parameters(config: GPTConfig) -> tuple[tuple[str, int | None, tuple[int, ...]], ...]:
    """Name, block and shape of every parameter of the first block and outside of blocks; all blocks are alike."""
    one = config.model_copy(update={"layers": 1, "attention": config.attention[:1]})
    return tuple(
        (name, 0 if _BLOCK.search(name) else None, tuple(parameter.shape))
        for name, parameter in meta_model(one).named_parameters()
    )


def _part(name: str, layer: int | None, shape: tuple[int, ...], tensor: int, shards: int) -> Part:
    gathered = _divided(name, shape, tensor)
    return Part(name, layer, shape, gathered, _sharded(gathered, shards))


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


def _divided(name: str, shape: tuple[int, ...], tensor: int) -> tuple[int, ...]:
    if _COLUMNS.search(name) or _VOCABULARY.search(name):
        return (-(-shape[0] // tensor), *shape[1:])
    if _ROWS.search(name):
        return (shape[0], -(-shape[1] // tensor))
    return shape


def _sharded(shape: tuple[int, ...], shard: int) -> tuple[int, ...]:
    """As torch.chunk deals out the first dimension; the first process has the most."""
    return (-(-shape[0] // shard), *shape[1:])
