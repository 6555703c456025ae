"""How much memory each process of a training takes, in any layout, by what one micro-batch of it weighs."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain

import torch
from torch import nn

from malmoi.core.accelerator import pick_device
from malmoi.data.batch import Batch, TargetBatch
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.model import ModelConfig
from malmoi.objectives.linear_cross_entropy import rows_at_once
from malmoi.objectives.objective import Objective
from malmoi.parallel.chunk import layers_of
from malmoi.parallel.context import ContextPart, RowParts, rows_problem
from malmoi.parallel.execution import dealt
from malmoi.parallel.layout import Layout
from malmoi.parallel.layout_check import recomputes_too_often
from malmoi.parallel.memory import Memory, exchanged, held_micro_batches
from malmoi.parallel.parts import divided, sharded
from malmoi.parallel.schedule import layer_ranges
from malmoi.train.compact_states import STATE_BYTES
from malmoi.train.muon import Muon
from malmoi.train.optimizers import OptimizerSettings, build_optimizers
from malmoi.train.precision import Precision
from malmoi.train.settings import TrainerSettings
from malmoi.train.weighing import FIRST, REST, TABLE, Weight, blocks_of, weigh, without_memory


@dataclass(frozen=True)
class Held:
    """A parameter.

    Attributes:
        size: bytes of a number.
        states: bytes that the optimizers remember for a number; None where it is not trained.
    """

    name: str
    shape: tuple[int, ...]
    size: int
    states: int | None

    def numbers(self, tensor: int, shards: int = 1) -> int:
        """How many of them the fullest of the processes that share it has."""
        return math.prod(sharded(divided(self.name, self.shape, tensor), shards))


class SharedTraining:
    """A training whose memory is estimated for one layout after another.

    Args:
        model: stays as it is.
        config: of the model, where it is one of a family.
        batch: a micro-batch; all others are taken to have its shape.
    """

    def __init__(
        self,
        model: nn.Module,
        config: ModelConfig | None,
        objective: Objective,
        batch: Batch,
        settings: TrainerSettings,
        precision: Precision,
    ) -> None:
        self._model, self._objective, self._batch = without_memory(model), objective, batch
        self._config, self._vocabulary = config, 0 if config is None else config.vocabulary
        self._settings, self._precision = settings, precision
        self._blocks = [block for _, block in blocks_of(self._model)]
        states = state_bytes(self._model, settings)
        self._held = {
            parameter: Held(name, tuple(parameter.shape), parameter.element_size(), states.get(name))
            for name, parameter in self._model.named_parameters()
        }
        self._weights: dict[tuple[int, int, int], Weight] = {}
        self._context_parts: dict[tuple[int, int], ContextPart] = {}

    @property
    def rows(self) -> int:
        """Of a micro-batch."""
        return len(next(one for one in vars(self._batch).values() if isinstance(one, torch.Tensor)))

    def fits(self, layout: Layout, room: int) -> bool:
        """Whether it can be trained in a layout that suits the model, with so many bytes in each process."""
        if self.rows < self._parts(layout) or recomputes_too_often(layout, self._settings.recompute):
            return False
        if layout.context > 1 and rows_problem(self._model, self._objective):
            return False
        return self.fullest(layout).peak <= room

    def fullest(self, layout: Layout) -> Memory:
        """Of the process that needs most.

        Raises:
            RuntimeError: something cannot be had without numbers.
        """
        memories = (self.process_memory(layout, place) for place in range(layout.pipeline))
        return max(memories, key=lambda memory: memory.peak)

    def process_memory(self, layout: Layout, place: int) -> Memory:
        """Of the fullest process of a place in the pipeline; raises as `fullest`."""
        tensor, shards = layout.tensor, layout.shards
        held, blocks = self._at(layout, place)
        learned = [one for one in held if one.states is not None]
        gathered = sum(one.size * one.numbers(tensor) for one in held)
        whole, part = (sum(one.size * one.numbers(tensor, count) for one in learned) for count in (1, shards))
        in_blocks = [self._held[one] for index in blocks for one in self._blocks[index].parameters()]
        block = sum(one.size * one.numbers(tensor) for one in in_blocks) // max(1, len(blocks))
        together = layout.micro_batches(self._settings.slots) > 1
        activations, forward, backward = self._passes(layout, place, blocks)
        gradients = whole if together else part
        before_backward = 0 if together else max(0, gradients - activations)
        return Memory(
            sum(one.size * one.numbers(tensor, shards) for one in held),
            gradients,
            sum((one.states or 0) * one.numbers(tensor, shards) for one in learned),
            activations,
            exchanged(layout, gathered, block, len(blocks), whole) + max(backward, forward - before_backward),
            together,
        )

    def _at(self, layout: Layout, place: int) -> tuple[list[Held], list[int]]:
        """The parameters of a place in the pipeline, and the numbers of its blocks."""
        if layout.pipeline == 1:
            return list(self._held.values()), list(range(len(self._blocks)))
        layers = layers_of(self._model)
        own = layer_ranges(layers.layers, layout.schedule, layout.pipeline)[place :: layout.pipeline]
        modules = chain.from_iterable(layers.parts(one.start, one.stop) for one in own)
        parameters = dict.fromkeys(chain.from_iterable(one.parameters() for one in modules))
        return [self._held[one] for one in parameters], list(chain.from_iterable(own))

    def _passes(self, layout: Layout, place: int, blocks: list[int]) -> tuple[int, int, int]:
        """Bytes that are kept, and those that are there for a while in the forward and in the backward pass."""
        weight, tensor, last = self._weight(layout), layout.tensor, place == layout.pipeline - 1
        held = held_micro_batches(layout, layout.micro_batches(self._settings.slots), place)
        losses = held if layout.schedule == "gpipe" else 1  # in other orders each goes back at once
        inner = sum(weight.inner.get(one, 0) for one in blocks)
        kept = held * (sum(weight.kept.get(one, 0) for one in blocks) / tensor + (1 - 1 / tensor) * inner)
        kept += held * (place == 0) * weight.kept[FIRST]
        kept += last * losses * (weight.kept.get(REST, 0) + weight.kept.get(TABLE, 0) / tensor)
        of_end = tensor if isinstance(self._config, GPTConfig) else 1  # all scores of others are on every process
        forward = sum(weight.forward.get(one, 0) for one in blocks) / tensor
        forward += (place == 0) * weight.forward.get(FIRST, 0)
        if last:
            forward += weight.forward.get(REST, 0) / of_end + weight.forward.get(TABLE, 0) / tensor
            forward = max(forward, self._logits(layout))
        backward = max(weight.backward[FIRST] // tensor, last * weight.backward.get(REST, 0) // of_end)
        return int(kept), int(forward), backward

    def _logits(self, layout: Layout) -> int:
        """Bytes of those that are there at once where the loss computes some rows at a time on an accelerator."""
        batch = self._own_batch(layout)
        if not isinstance(batch, TargetBatch):
            return 0
        vocabulary = -(-self._vocabulary // layout.tensor)
        return 8 * vocabulary * min(batch.count(), rows_at_once(vocabulary, pick_device().type))  # and their logarithms

    def _weight(self, layout: Layout) -> Weight:
        """Of what a process of the layout computes of a micro-batch, with the whole model."""
        key = (self._parts(layout), layout.context, layout.sequence_parts)
        if key not in self._weights:
            ends = [self._weigh(layout, own) for own in sorted({0, layout.context - 1})]
            self._weights[key] = max(ends, key=lambda weight: sum(weight.kept.values()))
        return self._weights[key]

    def _weigh(self, layout: Layout, own: int) -> Weight:
        """The same of a part of the rows; those between the first and the last look at keys as the one or the other."""
        batch, recompute = self._own_batch(layout, own), self._settings.recompute
        divided = self._context_part(layout, own).computed() if layout.context > 1 else nullcontext()
        with divided:
            return weigh(self._model, self._objective, batch, self._precision, recompute, self._vocabulary)

    def _own_batch(self, layout: Layout, own: int = 0) -> Batch:
        """What a process of the first replica computes of a micro-batch, whose part of the rows has this number."""
        batch = self._batch.part(0, self._parts(layout)).padded(layout.sequence_parts)
        return batch if layout.context == 1 else self._context_part(layout, own).of(batch)

    def _context_part(self, layout: Layout, own: int) -> ContextPart:
        """Lets the model compute this part of its rows."""
        key = layout.context, own
        if key not in self._context_parts:
            self._context_parts[key] = ContextPart(self._model, self._objective, RowParts.alone(*key))
        return self._context_parts[key]

    def _parts(self, layout: Layout) -> int:
        return dealt(self._settings.slots, 0, layout.replicas)[0].parts


def state_bytes(model: nn.Module, settings: OptimizerSettings) -> dict[str, int]:
    """Bytes that the optimizers remember for every number of a parameter that is trained, by its name.

    Which rule updates which parameter is asked of the optimizers themselves.

    Args:
        model: see `without_memory`.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    size = STATE_BYTES[settings.state_precision]
    return {
        names[id(parameter)]: size if isinstance(optimizer, Muon) else 2 * size
        for optimizer in build_optimizers(model, settings)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
