"""Pipeline parallelism: each process has some of a model's layers, and micro-batches pass through them one by one.

Executed by PyTorch's engine, `torch.distributed.pipelining`, in the orders of `malmoi.parallel.schedule`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from itertools import chain, groupby
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.pipelining import (
    PipelineStage,
    Schedule1F1B,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
    ScheduleInterleavedZeroBubble,
    ScheduleLoopedBFS,
)

from malmoi.core.accelerator import device_of
from malmoi.core.errors import UserError
from malmoi.data.batch import Batch
from malmoi.objectives.objective import Loss
from malmoi.parallel.chunk import EncoderDecoderLayers, Layers, Reached, keep_only, layers_of
from malmoi.parallel.copies import Copies, holders_of
from malmoi.parallel.layout import PipelineSchedule
from malmoi.parallel.schedule import check_micro_batches, layer_ranges

ENGINES: dict[PipelineSchedule, Any] = {
    "gpipe": ScheduleGPipe,
    "1f1b": Schedule1F1B,
    "interleaved": ScheduleInterleaved1F1B,
    "zero-bubble": ScheduleInterleavedZeroBubble,
}

KEPT_ENGINES = 4
"""Engines have buffers for the shapes of their micro-batches; so many of them are kept for the next step."""

FORWARD_TOGETHER = 4
"""Micro-batches for each process that are evaluated together."""


class Pipeline:
    """The part of this process in a training whose layers are divided.

    All processes of the pipeline call the same methods, with the same batches.

    Args:
        model: loses, in place, all parameters but those of this process; what stays keeps its name.
        loss: the objective's loss of `model` on a batch, as the trainer computes it: on its device, in its precision.
        mesh: one dimension, the processes of the pipeline from the bottom of the model.

    Attributes:
        chunks: this process's chunks of layers, as modules that hold what they need of the model; what shards
            parameters takes each as a root.
        repeated: names of parameters that a process before this one has too: to be counted and saved only there.

    Raises:
        UserError: the layers of the model cannot be divided so.
    """

    def __init__(
        self, model: nn.Module, loss: Callable[[Any], Loss], mesh: DeviceMesh, schedule: PipelineSchedule
    ) -> None:
        self._model, self._schedule, self._group = model, schedule, mesh.get_group()
        self._processes, rank = mesh.size(), mesh.get_local_rank()
        layers = layers_of(model)
        ranges = layer_ranges(layers.layers, schedule, self._processes)
        if schedule == "zero-bubble" and isinstance(layers, EncoderDecoderLayers):
            raise UserError(
                "A zero-bubble pipeline takes models that are one stack of blocks, and no encoder-decoder.",
                "Set schedule=interleaved.",
            )
        parts = [layers.parts(one.start, one.stop) for one in ranges]
        of_ranks = [list(chain.from_iterable(parts[process :: self._processes])) for process in range(self._processes)]
        held: list[set[torch.Tensor]] = [{one for part in parts for one in part.parameters()} for parts in of_ranks]
        holders = holders_of(dict(model.named_parameters()), held)
        keep_only(model, of_ranks[rank])
        self.chunks = [
            Chunk(layers, loss, stage, ranges[stage], parts[stage])
            for stage in range(rank, len(ranges), self._processes)
        ]
        own = dict(model.named_parameters())
        self.repeated = frozenset(name for name, ranks in holders.items() if name in own and ranks[0] < rank)
        self._stages = len(ranges)
        self._holders = holders
        self._engines: dict[Hashable, Any] = {}
        self._scale = 1.0

    def backward(self, batches: Sequence[Batch], scale: float = 1.0, seeds: Sequence[int] = ()) -> Loss:
        """Add the gradients of the sum over all micro-batches of a step, times `scale`, to the parameters.

        Args:
            batches: of equal shapes, see `malmoi.data.batch.alike`.
            seeds: of the random numbers in each; each chunk of layers derives its own from it.

        Returns:
            The sums of totals and counts, the same on every process.

        Raises:
            UserError: the schedule does not take so many micro-batches.
        """
        check_micro_batches(self._schedule, self._processes, len(batches))
        parameters = dict(self._model.named_parameters())
        before = {name: one.grad for name, one in parameters.items() if one.grad is not None}
        for name in before:
            parameters[name].grad = None
        self._scale = scale
        self._run(batches, seeds, learns=True)
        Copies(self._holders, parameters, self._group).sum_gradients()
        for name, gradient in before.items():
            own = parameters[name].grad
            parameters[name].grad = gradient if own is None else own.add_(gradient)
        return self._over_all([self.chunks[-1].losses[index] for index in range(len(batches))] if self._last else [])

    @torch.no_grad()
    def evaluate(self, batches: Sequence[Batch]) -> Loss:
        """The losses of all batches and their metrics as sums, the same on every process; no gradients."""
        losses = []
        for _, alike in groupby(batches, key=_shapes):
            same = list(alike)
            for first in range(0, len(same), together := FORWARD_TOGETHER * self._processes):
                group = same[first : first + together]
                self._run(group, (), learns=False)
                losses += [self.chunks[-1].losses[index] for index in range(len(group))] if self._last else []
        return self._over_all(losses)

    @property
    def _last(self) -> bool:
        return self.chunks[-1].end_of_model

    def _run(self, batches: Sequence[Batch], seeds: Sequence[int], learns: bool) -> None:
        """All micro-batches, by an engine for this number and these shapes."""
        shapes = _shapes(batches[0])
        if any(_shapes(batch) != shapes for batch in batches):
            raise ValueError("the micro-batches of a step have different shapes: pad them")
        key = (len(batches), shapes, learns)
        engine = self._engines.pop(key, None) or self._engine(len(batches), learns)
        self._engines[key] = engine
        while len(self._engines) > KEPT_ENGINES:
            del self._engines[next(iter(self._engines))]
        for chunk in self.chunks:
            chunk.begin(batches, seeds)
        numbers = torch.arange(len(batches))
        try:
            if learns:
                engine.step(number=numbers, target=numbers, return_outputs=False)
            else:
                engine.step(number=numbers, return_outputs=False)
        except RuntimeError as error:
            raise _users_mistake(error) or error from error

    def _engine(self, micro_batches: int, learns: bool) -> Any:
        device = device_of(self._model)
        stages = [PipelineStage(chunk, chunk.stage, self._stages, device, group=self._group) for chunk in self.chunks]
        several = len(stages) > 1
        kind: Any = ENGINES[self._schedule] if learns else ScheduleLoopedBFS if several else ScheduleGPipe
        return kind(
            stages if several else stages[0],
            micro_batches,
            loss_fn=(lambda total, _number: total * self._scale) if learns else None,
            scale_grads=False,
        )

    def _over_all(self, losses: list[Loss]) -> Loss:
        """The sum of what the last process found, told to all."""
        told: list[Any] = [None]
        if self._last:
            names = sorted({name for loss in losses for name in loss.metrics})
            sums = {name: sum(float(loss.metrics.get(name, 0.0)) for loss in losses) for name in names}
            told = [(sum(float(loss.total) for loss in losses), sum(int(loss.count) for loss in losses), sums)]
        dist.broadcast_object_list(told, group=self._group, group_src=self._processes - 1)
        total, count, metrics = told[0]
        return Loss(
            torch.tensor(total, dtype=torch.float64),
            torch.tensor(count),
            {name: torch.tensor(value, dtype=torch.float64) for name, value in metrics.items()},
        )


class Chunk(nn.Module):
    """Some layers with what they need of the model, as a stage of PyTorch's engine.

    Attributes:
        blocks: the layers.
        others: embeddings and heads.
        losses: of the micro-batches of a step by number, without gradients, if the last layer is among these.
    """

    def __init__(
        self, layers: Layers, loss: Callable[[Any], Loss], stage: int, own: range, parts: list[nn.Module]
    ) -> None:
        super().__init__()
        self._layers, self._loss, self._own = layers, loss, own
        self.stage, self.end_of_model = stage, own.stop == layers.layers
        self.blocks, self.others = nn.ModuleList(parts[: len(own)]), nn.ModuleList(parts[len(own) :])
        self.losses: dict[int, Loss] = {}
        self._batches: Sequence[Batch] = ()
        self._seeds: Sequence[int] = ()

    def begin(self, batches: Sequence[Batch], seeds: Sequence[int]) -> None:
        """Say what the micro-batches of the next step are."""
        self._batches, self._seeds, self.losses = batches, seeds, {}

    def forward(self, *received: torch.Tensor, number: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """What goes to the next chunk, or the total of the loss.

        Args:
            received: what came from the chunk below.
            number: (1,) int64, which micro-batch.
        """
        index = int(number)
        if self._seeds:
            torch.manual_seed(_own_seed(self._seeds[index], self.stage))
        try:
            with self._layers.only(self._own.start, self._own.stop, received):
                loss = self._loss(self._batches[index])
        except Reached as reached:
            return reached.hidden
        metrics = {name: value.detach() for name, value in loss.metrics.items()}
        self.losses[index] = Loss(loss.total.detach().clone(), loss.count, metrics)
        return loss.total


def _shapes(batch: Batch) -> tuple[tuple[int, ...], ...]:
    values = (getattr(batch, field.name) for field in dataclasses.fields(batch))
    return tuple(tuple(value.shape) for value in values if isinstance(value, torch.Tensor))


def _own_seed(seed: int, stage: int) -> int:
    """The first chunk has the seed itself; no two have the same random numbers."""
    return (seed + stage * 0x9E3779B97F4A7C15) % (1 << 64) - (1 << 63) if stage else seed


def _users_mistake(error: BaseException | None) -> UserError | None:
    """What the engine has wrapped."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error
