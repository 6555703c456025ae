"""One training executed by several processes: the steps by which a layout is applied to a model, from outside."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule

from malmoi.core.errors import UserError
from malmoi.data.batch import Batch, alike
from malmoi.objectives.objective import Loss, Objective
from malmoi.parallel.agreement import anywhere, check_same, of_the_first
from malmoi.parallel.checkpoint import StateWriter
from malmoi.parallel.context import ContextPart, RowParts
from malmoi.parallel.data import GradientSum
from malmoi.parallel.divided import DividedParameters
from malmoi.parallel.execution import Execution, FirstWeights, Share, Sums, Value, dealt, place
from malmoi.parallel.layout import Layout
from malmoi.parallel.lent import LentModel
from malmoi.parallel.matrices import DividedMatrices
from malmoi.parallel.mesh import REPLICAS, SEEN, Mesh
from malmoi.parallel.pipeline import Pipeline
from malmoi.parallel.processes import training_ends
from malmoi.parallel.shard import reshard, settle, shard_blocks
from malmoi.parallel.tensor import divide_tensors
from malmoi.parallel.watchdog import Watchdog


class DistributedExecution(Execution):
    """The part of this process in a training that several share.

    The model handed in is empty until `give_back`, unless the layout leaves every process all weights.

    Raises:
        UserError: the layout does not fit the model.
    """

    shared = True

    def __init__(
        self, model: nn.Module, objective: Objective, layout: Layout, first_weights: FirstWeights | None = None
    ) -> None:
        _refuse_batch_norms(model, layout)
        self.divided = layout.processes > layout.data * layout.context
        self.alike = layout.processes == layout.data
        super().__init__(model, objective, first_weights)
        self.compiles = layout.pipeline == 1 or layout.schedule != "zero-bubble"
        self.mesh, self.layout = Mesh(layout, self.device.type), layout
        self._lent: LentModel | None = None
        if self.divided:
            self.model = copy.deepcopy(model)
            self._lent = LentModel(model)
        self._apply(layout)
        if self.divided:
            place(self.model, self.device, first_weights)
        if self.divided and first_weights is not None:
            for root in self._sharded():
                settle(root)
        repeated = frozenset() if self._pipeline is None else self._pipeline.repeated
        self._own = DividedParameters(self.model, self.mesh, self._partial, repeated)
        self.parameters = self._own.held
        self._sum: GradientSum | None = None
        if layout.shard == 1 and self.mesh.size(*SEEN) > 1:
            self._sum = GradientSum(self._own.named.values(), self.mesh.group(*SEEN))

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
            self._context = ContextPart(self.model, self.objective, RowParts.among(self.mesh.group("context")))
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
        with self._rows_divided():
            sums = self._own_backward(shares, batch, inside, scale)
        self.own_seconds = clock() - started
        for root in self._sharded():
            reshard(root)
        if self._sum is not None:
            self._sum.finish()
        self._own.settle_gradients()
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
        batch = batch.padded(self.layout.sequence_parts)
        return (batch if self._context is None else self._context.of(batch)).to(self.device)

    def _rows_divided(self) -> AbstractContextManager[None]:
        """Inside, the model computes its part of every row; samples between two steps are of whole ones."""
        return nullcontext() if self._context is None else self._context.computed()

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
            with self._rows_divided():
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
        """See `Execution.gradient_norm`."""
        return self._own.gradient_norm(self.device)

    def forget_gradients(self) -> None:
        """See `Execution.forget_gradients`."""
        self._own.forget_gradients()

    def placed(self, name: str, held: torch.Tensor) -> torch.Tensor:
        """See `Execution.placed`."""
        return self._own.placed(name, held)

    def matrices(self) -> DividedMatrices:
        """See `Execution.matrices`."""
        return self._own.matrices()

    def state_writer(self) -> StateWriter:
        """See `Execution.state_writer`."""
        return StateWriter()

    def agree(self, find: Callable[[], Value]) -> Value:
        """See `Execution.agree`."""
        return of_the_first(find)

    def check_same(self, facts: Callable[[], Mapping[str, str]]) -> None:
        """See `Execution.check_same`."""
        check_same(facts())

    def anywhere(self, *here: bool) -> Sequence[bool]:
        """See `Execution.anywhere`."""
        return anywhere(here, self.device)

    def watchdog(self) -> Watchdog:
        """See `Execution.watchdog`."""
        store = dist.distributed_c10d._get_default_store()
        return Watchdog(store, dist.get_rank(), dist.get_world_size())

    def give_back(self) -> None:
        """Fill the model that was handed in with the trained weights, whole, on every process."""
        if self._lent is not None:
            pipeline = None if self._pipeline is None else self.mesh.group("pipeline")
            self._lent.give_back(self.model, self.device, pipeline)

    def end(self) -> None:
        """See `Execution.end`."""
        training_ends()

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

    def _over_all(self, total: float, count: int) -> Sums:
        both = self.mesh.sum(torch.tensor([total, count], dtype=torch.float64, device=self.device), *SEEN)
        return Sums(float(both[0]), int(both[1]), {})


class _Step(nn.Module):
    """The forward pass that ends in a loss, as one module."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self._objective = model, objective

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """The fields of a `Loss`: sharding looks for tensors in tuples and dictionaries."""
        loss = self._objective.loss(self.model, batch)
        return loss.total, loss.count, loss.metrics


def _refuse_batch_norms(model: nn.Module, layout: Layout) -> None:
    if any(isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) for module in model.modules()):
        raise UserError(
            f"A batch norm sees only the rows of its own process, so {layout} would train another model.",
            "Train it in one process.",
        )
