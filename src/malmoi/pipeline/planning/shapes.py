"""Which part of every parameter each process of a layout has."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from torch._subclasses.fake_tensor import FakeTensorMode

from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import meta_model
from malmoi.parallel.layout import Layout
from malmoi.parallel.schedule import chunks_of
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


def process_parts(config: GPTConfig, layout: Layout, place: int) -> list[Part]:
    """The parts of the fullest process (the first along tensor and shard) of place `place` in the pipeline."""
    shards = layout.shard * layout.context if layout.shard > 1 else 1
    return [
        Part(name, layer, shape, (gathered := _divided(name, shape, layout.tensor)), _sharded(gathered, shards))
        for name, layer, shape in _parameters(config)
        if place in _places(name, layer, config, layout)
    ]


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


def name_in_first_block(name: str) -> str:
    """blocks.7.x is blocks.0.x."""
    return _BLOCK.sub("blocks.0.", name)


@cache
def _parameters(config: GPTConfig) -> tuple[tuple[str, int | None, tuple[int, ...]], ...]:
    """Name, block and shape of every parameter; the blocks of a model are alike."""
    return tuple(_named(config))


def _named(config: GPTConfig) -> Iterator[tuple[str, int | None, tuple[int, ...]]]:
    for name, parameter in meta_model(config).named_parameters():
        found = _BLOCK.search(name)
        yield name, int(found[1]) if found else None, tuple(parameter.shape)


def _places(name: str, layer: int | None, config: GPTConfig, layout: Layout) -> tuple[int, ...]:
    chunks, last = chunks_of(layout.schedule), layout.pipeline - 1
    if layer is not None:
        each = -(-config.layers // (layout.pipeline * chunks)) if layout.pipeline > 1 else config.layers
        return (layer // each % layout.pipeline,)
    if not name.startswith(_BELOW):
        return (last,)
    return (0, last) if name == "embedding.weight" and config.tied else (0,)


def _divided(name: str, shape: tuple[int, ...], tensor: int) -> tuple[int, ...]:
    if _COLUMNS.search(name) or _VOCABULARY.search(name):
        return (-(-shape[0] // tensor), *shape[1:])
    if _ROWS.search(name):
        return (shape[0], -(-shape[1] // tensor))
    return shape


def _sharded(shape: tuple[int, ...], shard: int) -> tuple[int, ...]:
    """As torch.chunk deals out the first dimension; the first process has the most."""
    return (-(-shape[0] // shard), *shape[1:])
