"""One training executed by several processes: the steps by which a layout is applied to a model, from outside."""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from malmoi.core.accelerator import pick_device
from malmoi.core.errors import UserError
from malmoi.data.batch import Batch, alike
from malmoi.models.headed import body_of
from malmoi.models.model import ModelConfig
from malmoi.objectives.objective import Loss, Objective
from malmoi.parallel.checkpoint import StateWriter
from malmoi.parallel.context import ContextPart
from malmoi.parallel.data import GradientSum, local, local_gradient
from malmoi.parallel.execution import Execution, FirstWeights, Share, Sums, Value, dealt, fill
from malmoi.parallel.layout import AXES, Layout
from malmoi.parallel.layout_check import Work, check_layout
from malmoi.parallel.matrices import DividedMatrices, as_divided
from malmoi.parallel.mesh import REPLICAS, SEEN, Mesh
from malmoi.parallel.pipeline import Pipeline
from malmoi.parallel.processes import automatic_layout, check_processes, training_begins, training_ends
from malmoi.parallel.shard import reshard, settle, shard_blocks
from malmoi.parallel.tensor import divide_tensors
from malmoi.parallel.watchdog import Watchdog


def execution(
    model: nn.Module, objective: Objective, layout: Layout, slots: int, first_weights: FirstWeights | None = None
) -> Execution:
    """How this process takes part in a training.

    Args:
        slots: micro-batches of a step.
        first_weights: fills a model that has shapes but no memory; each process has memory for its part only.

    Raises:
        UserError: the layout does not fit the model, or the number of processes.
    """
    if layout.automatic:
        layout = automatic_layout(sum(parameter.nbytes for parameter in model.parameters()))
    if layout.processes == 1:
        return Execution(model, objective, first_weights)
    check_processes(layout)
    config = getattr(body_of(model), "config", None)  # type: ignore[arg-type]
    if isinstance(config, ModelConfig):
        micro_batches = len(dealt(slots, 0, layout.replicas))
        check_layout(Work(config, layout.processes, micro_batches=micro_batches), layout)
    training_begins()
    return DistributedExecution(model, objective, layout, first_weights)


class DistributedExecution(Execution):
    """The part of this process in a training that several share.

    The model handed in is empty until `give_back`, unless the layout leaves every process all weights.

    Raises:
        UserError: the layout does not fit the model.
    """

    def __init__(
        self, model: nn.Module, objective: Objective, layout: Layout, first_weights: FirstWeights | None = None
    ) -> None:
        _refuse_batch_norms(model, layout)
        self.divided = layout.processes > layout.data * layout.context
        super().__init__(model, objective, None if self.divided else first_weights)
        if self.device.type == "meta":
            self.device = pick_device()
        self.mesh, self.layout = Mesh(layout, self.device.type), layout
        self._lent = model if self.divided else None
        if self.divided:
            self.model = copy.deepcopy(model)
            self._shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
            for parameter in model.parameters():
                parameter.data = parameter.new_empty(0)
        self._apply(layout)
        if self.divided and first_weights is not None:
            fill(self.model, first_weights)
            for root in self._sharded():
                settle(root)
        self._named = {name: one for name, one in self.model.named_parameters() if one.requires_grad}
        self.parameters = {name: _held(one) for name, one in self._named.items()}
        self._sum: GradientSum | None = None
        if layout.shard == 1 and self.mesh.size(*SEEN) > 1:
            self._sum = GradientSum(self._named.values(), self.mesh.group(*SEEN))

    def _apply(self, layout: Layout) -> None:
        """The layout, step by step; what comes later wraps what came before."""
        self._partial: list[str] = []
        self._context: ContextPart | None = None
        self._pipeline: Pipeline | None = None
        if layout.pipeline > 1:
            mesh = self.mesh.parameters["pipeline"]
            self._pipeline = Pipeline(self.model, self._loss_inside, mesh, layout.schedule)
        if layout.tensor > 1:
            self._partial = divide_tensors(self.model, self.mesh.parameters["tensor"])
        if layout.context > 1:
            self._context = ContextPart(self.model, self.objective, self.mesh.group("context"))
        self._step = _Step(self.model, self.objective)
        for root in self._sharded():
            shard_blocks(root, self.mesh.of_shards(), keep=self._pipeline is not None)

    def shares(self, slots: int) -> list[Share]:
        """See `Execution.shares`."""
        return dealt(slots, self.mesh.index(*REPLICAS), self.layout.replicas)

    def backward(
        self,
        shares: Sequence[Share],
        batch: Callable[[Share], Batch],
        inside: Callable[[], AbstractContextManager[Any]],
        scale: float,
    ) -> Sums:
        """See `Execution.backward`; the sums run over all processes, and so do the gradients."""
        clock = time.monotonic if not self.divided and self.layout.context == 1 else time.process_time  # others wait
        started = clock()
        sums = self._own_backward(shares, batch, inside, scale)
        self.own_seconds = clock() - started
        for root in self._sharded():
            reshard(root)
        if self._sum is not None:
            self._sum.finish()
        self._sum_partial_gradients()
        for name, parameter in self._named.items():
            if self.parameters[name] is not parameter:
                self.parameters[name].grad = None if parameter.grad is None else local(parameter.grad)
        return self._over_all(sums.total, sums.count)

    def loss(self, batch: Batch) -> Loss:
        """See `Execution.loss`."""
        return Loss(*self._step(self._prepared(batch)))

    def _own_backward(
        self,
        shares: Sequence[Share],
        batch: Callable[[Share], Batch],
        inside: Callable[[], AbstractContextManager[Any]],
        scale: float,
    ) -> Sums:
        """The gradients and sums of this process's own rows."""
        if self._pipeline is None:
            *others, last = shares
            self._sync(False)
            first = super().backward(others, batch, inside, scale)
            self._sync(True)
            second = super().backward([last], batch, inside, scale)
            return Sums(first.total + second.total, first.count + second.count, {})
        self.model.train()
        batches, seeds = [], []
        for share in shares:
            batches.append(self._prepared(batch(share)))
            seeds.append(torch.initial_seed())
        self._inside = inside
        loss = self._pipeline.backward(alike(batches), scale, seeds)
        return Sums(float(loss.total), int(loss.count), {})

    def _prepared(self, batch: Batch) -> Batch:
        """What this process computes of a batch of its replica."""
        batch = batch.to(self.device).padded(self.layout.tensor * self.layout.context)
        return batch if self._context is None else self._context.of(batch)

    def _loss_inside(self, batch: Batch) -> Loss:
        """What the objective says of a batch, in the number format of the forward pass; for a pipeline."""
        with self._inside():
            return self.objective.loss(self.model, batch)

    def _own_validation(self, batch: Batch, inside: Callable[[], AbstractContextManager[Any]]) -> Sums:
        if self._pipeline is None:
            return super().validate(iter([batch]), inside)
        self.model.eval()
        self._inside = inside
        loss = self._pipeline.evaluate([self._prepared(batch)])
        self.model.train()
        return Sums(float(loss.total), int(loss.count), {name: float(one) for name, one in loss.metrics.items()})

    @torch.no_grad()
    def validate(self, batches: Iterator[Batch], inside: Callable[[], AbstractContextManager[Any]]) -> Sums:
        """See `Execution.validate`; every replica has its own batches."""
        own = self.mesh.index(*REPLICAS)
        sums = Sums(0.0, 0, {})
        while together := list(islice(batches, self.layout.replicas)):
            one = self._own_validation(together[min(own, len(together) - 1)], inside)
            if own < len(together):
                metrics = {name: sums.metrics.get(name, 0.0) + value for name, value in one.metrics.items()}
                sums = Sums(sums.total + one.total, sums.count + one.count, sums.metrics | metrics)
        of_all: list[Any] = [None] * self.mesh.size(*SEEN)
        if len(of_all) > 1:
            dist.all_gather_object(of_all, sums.metrics, group=self.mesh.group(*SEEN))
        else:
            of_all = [sums.metrics]
        metrics = {}
        for one in of_all:
            for name, value in one.items():
                metrics[name] = metrics.get(name, 0.0) + value
        whole = self._over_all(sums.total, sums.count)
        return Sums(whole.total, whole.count, metrics)

    def gradient_norm(self) -> float:
        """See `Execution.gradient_norm`: each number once, wherever it is kept."""
        squares: dict[tuple[str, ...], torch.Tensor] = defaultdict(lambda: torch.zeros((), device=self.device))
        for name, parameter in self._named.items():
            gradient = self.parameters[name].grad
            if gradient is not None and not self._repeated(name):
                squares[self._axes(parameter)] += gradient.float().square().sum()
        for axes in self._all_axes():
            self.mesh.sum(squares[axes], *axes)
        every = torch.stack(list(squares.values())).sum()
        return float(self.mesh.sum(every, "pipeline").sqrt())

    def forget_gradients(self) -> None:
        """See `Execution.forget_gradients`."""
        super().forget_gradients()
        for parameter in self._named.values():
            parameter.grad = None

    def placed(self, name: str, held: torch.Tensor) -> torch.Tensor:
        """What this process holds of something that is divided as parameter `name` is, as a part of the whole."""
        parameter = self._named[name]
        if not isinstance(parameter, DTensor) or held.shape != self.parameters[name].shape:
            return held
        return as_divided(held, parameter)

    def matrices(self) -> DividedMatrices:
        """How an optimizer has the whole matrices of this process's layers."""
        group = self.mesh.group(*(axis for axis in AXES if axis != "pipeline"))
        return DividedMatrices(self._named, self.parameters, group)

    def state_writer(self) -> StateWriter:
        """See `Execution.state_writer`."""
        return StateWriter()

    def agree(self, find: Callable[[], Value]) -> Value:
        """See `Execution.agree`."""
        found: list[Any] = [find() if dist.get_rank() == 0 else None]
        dist.broadcast_object_list(found, src=0)
        value: Value = found[0]
        return value

    def check_same(self, facts: Callable[[], Mapping[str, str]]) -> None:
        """See `Execution.check_same`."""
        of_all: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(of_all, dict(facts()))
        for index, others in enumerate(of_all):
            differ = [name for name in of_all[0] if others[name] != of_all[0][name]]
            if differ:
                raise UserError(
                    f"Process {index} has not the same {' and '.join(differ)} as process 0.",
                    "Give every process the same recipe, the same files and the same version.",
                )

    def any(self, here: bool) -> bool:
        """See `Execution.any`."""
        found = torch.tensor(int(here), device=self.device)
        dist.all_reduce(found)
        return bool(found)

    def watchdog(self) -> Watchdog:
        """See `Execution.watchdog`."""
        store = dist.distributed_c10d._get_default_store()
        return Watchdog(store, dist.get_rank(), dist.get_world_size())

    def give_back(self) -> None:
        """Fill the model that was handed in with the trained weights, whole, on every process."""
        if self._lent is None:
            return
        if next(self._lent.parameters()).is_meta:
            self._lent.to_empty(device=self.device)
        own = {name: parameter.detach() for name, parameter in self.model.named_parameters()}
        owners = self._owners(list(own))
        for name, parameter in self._lent.named_parameters():
            whole = torch.empty(self._shapes[name], dtype=parameter.dtype, device=parameter.device)
            if name in own:
                held = own[name]
                whole.copy_(held.full_tensor() if isinstance(held, DTensor) else held)
            if self._pipeline is not None:
                dist.broadcast(whole, group=self.mesh.group("pipeline"), group_src=owners[name])
            parameter.data = whole

    def end(self) -> None:
        """See `Execution.end`."""
        training_ends()

    def _owners(self, own: list[str]) -> dict[str, int]:
        """Name to the first process of the pipeline that has this parameter."""
        if self._pipeline is None:
            return {}
        names: list[Any] = [None] * self.layout.pipeline
        dist.all_gather_object(names, own, group=self.mesh.group("pipeline"))
        return {name: index for index in reversed(range(len(names))) for name in names[index]}

    def _repeated(self, name: str) -> bool:
        """Whether another process of the pipeline counts this parameter."""
        return self._pipeline is not None and name in self._pipeline.repeated

    def _sharded(self) -> Sequence[nn.Module]:
        """The modules whose parameters are sharded, from the root down."""
        if self.layout.shard == 1:
            return []
        return [self._step] if self._pipeline is None else self._pipeline.chunks

    def _sync(self, last: bool) -> None:
        """Say whether gradients are exchanged in the next backward pass."""
        if isinstance(self._step, FSDPModule):
            self._step.set_requires_gradient_sync(last)
            self._step.set_is_last_backward(last)
        if self._sum is not None and last:
            self._sum.last_backward()

    def _sum_partial_gradients(self) -> None:
        """Add up the gradients of parameters that saw only some heads, or a part of the sequence."""
        held = [local_gradient(self._named[name]) for name in self._partial if name in self._named]
        if held:
            flat = self.mesh.sum(torch.cat([one.reshape(-1) for one in held]), "tensor")
            for one, summed in zip(held, torch.split(flat, [one.numel() for one in held]), strict=True):
                one.view(-1).copy_(summed)

    def _over_all(self, total: float, count: int) -> Sums:
        both = self.mesh.sum(torch.tensor([total, count], dtype=torch.float64, device=self.device), *SEEN)
        return Sums(float(both[0]), int(both[1]), {})

    def _axes(self, parameter: torch.Tensor) -> tuple[str, ...]:
        """Along which axes a parameter is divided."""
        if not isinstance(parameter, DTensor):
            return ()
        names = parameter.device_mesh.mesh_dim_names or ()
        divided = [name for name, place in zip(names, parameter.placements, strict=True) if not place.is_replicate()]
        return tuple(axis for name in divided for axis in self.mesh.axes_of(name))

    def _all_axes(self) -> list[tuple[str, ...]]:
        """Every way in which a parameter of this model is divided, in the same order on all processes."""
        return sorted({self._axes(parameter) for parameter in self._named.values()})


class _Step(nn.Module):
    """The forward pass that ends in a loss, as one module."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self._objective = model, objective

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """The fields of a `Loss`: sharding looks for tensors in tuples and dictionaries."""
        loss = self._objective.loss(self.model, batch)
        return loss.total, loss.count, loss.metrics


def _held(parameter: nn.Parameter) -> torch.Tensor:
    """What this process updates of a parameter: itself, or its part as a parameter that shares the memory."""
    return nn.Parameter(local(parameter.detach())) if isinstance(parameter, DTensor) else parameter


def _refuse_batch_norms(model: nn.Module, layout: Layout) -> None:
    if any(isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) for module in model.modules()):
        raise UserError(
            f"A batch norm sees only the rows of its own process, so {layout} would train another model.",
            "Train it in one process.",
        )
