"""How the micro-batches of a step become gradients: in one process, or in several that share the work."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from malmoi.core.accelerator import pick_device
from malmoi.data.batch import Batch
from malmoi.objectives.objective import Loss, Objective
from malmoi.parallel.checkpoint import StateWriter
from malmoi.parallel.watchdog import Watchdog

Value = TypeVar("Value")

FirstWeights = Callable[[nn.Module], None]
"""Fills the parameters of a model in place, each number a pure function of the parameter's name and its place."""


@dataclass(frozen=True)
class Share:
    """A micro-batch, or some of its rows, that a process computes.

    Attributes:
        slot: number of the micro-batch in its step.
        part: which of the parts into which its rows are dealt.
        parts: how many those are.
    """

    slot: int
    part: int = 0
    parts: int = 1


@dataclass(frozen=True)
class Sums:
    """What the losses of some batches add up to, over all processes."""

    total: float
    count: int
    metrics: dict[str, float]


class Execution:
    """One process that does everything.

    Attributes:
        parameters: what the optimizers of this process update, by name; they find gradients there.
        own_seconds: how long this process worked for the gradients of the last step, without waiting for others.
        shared: whether other processes take part.
        compiles: whether blocks can run compiled in this layout.
        divided: whether the model handed in is empty while it trains, because each process holds a part of it.
        alike: whether every process computes what one alone would, with other rows.
    """

    shared = False
    compiles = True
    divided = False
    alike = True
    own_seconds = 0.0

    def __init__(self, model: nn.Module, objective: Objective, first_weights: FirstWeights | None = None) -> None:
        self.model, self.objective, self.device = model, objective, pick_device()
        if not self.divided:
            place(model, self.device, first_weights)
        self.parameters: dict[str, torch.Tensor] = {
            name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
        }

    def shares(self, slots: int) -> list[Share]:
        """What this process computes of a step of `slots` micro-batches."""
        return [Share(slot) for slot in range(slots)]

    def backward(
        self,
        shares: Sequence[Share],
        batch: Callable[[Share], Batch],
        inside: Callable[[], AbstractContextManager[Any]],
        scale: float,
    ) -> Sums:
        """Add the gradients of the sum over all micro-batches of a step, times `scale`, to the parameters.

        Args:
            batch: makes a batch, and sets the seed of its random numbers.
            inside: the number format of the forward pass.
        """
        self.model.train()
        totals, counts = [], []
        for share in shares:
            with inside():
                loss = self.loss(batch(share))
            (loss.total * scale if scale != 1 else loss.total).backward()  # type: ignore[no-untyped-call]
            totals.append(loss.total.detach())
            counts.append(loss.count)
        return Sums(sum(_fetched(totals)), sum(_fetched(counts)), {})

    def loss(self, batch: Batch) -> Loss:
        """What the objective says of a batch."""
        return self.objective.loss(self.model, batch.to(self.device))

    @torch.no_grad()
    def validate(self, batches: Iterator[Batch], inside: Callable[[], AbstractContextManager[Any]]) -> Sums:
        """The losses of all batches, as sums."""
        self.model.eval()
        total, count = 0.0, 0
        metrics: dict[str, float] = {}
        for batch in batches:
            with inside():
                loss = self.loss(batch)
            total += float(loss.total)
            count += int(loss.count)
            for name, value in loss.metrics.items():
                metrics[name] = metrics.get(name, 0.0) + float(value)
        self.model.train()
        return Sums(total, count, metrics)

    def gradient_norm(self) -> float:
        """The norm of all gradients together."""
        return float(torch.nn.utils.get_total_norm(self._gradients()))

    def scale_gradients(self, multiplier: float) -> None:
        """Multiply all gradients."""
        torch._foreach_mul_(self._gradients(), multiplier)

    def forget_gradients(self) -> None:
        """Begin anew."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def matrices(self) -> Any:
        """How an optimizer has whole matrices; None where this process holds them."""
        return None

    def placed(self, name: str, held: torch.Tensor) -> torch.Tensor:
        """What this process holds of something that is divided as parameter `name` is, as a part of the whole."""
        return held

    def state_writer(self) -> StateWriter | None:
        """What writes states that several processes hold; None where this one writes them."""
        return None

    def agree(self, find: Callable[[], Value]) -> Value:
        """What the first process finds, for instance by measuring; the others take it over."""
        return find()

    def check_same(self, facts: Callable[[], Mapping[str, str]]) -> None:
        """Refuse to train different things.

        Args:
            facts: gives hashes of what every process must have alike, by what it is.

        Raises:
            UserError: on every process; says which differ.
        """

    def anywhere(self, *here: bool) -> Sequence[bool]:
        """Whether each of some things holds in any process."""
        return here

    def watchdog(self) -> Watchdog:
        """What notices that another process is gone."""
        return Watchdog(None, 0, 1)

    def give_back(self) -> None:
        """Fill the model that was handed in with the trained weights, whole."""

    def end(self) -> None:
        """Leave what comes after a training to the first process.

        Raises:
            StageDone: on another one that runs a stage with it, when nothing more is trained there.
        """

    def _gradients(self) -> list[torch.Tensor]:
        return [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]


def _fetched(scalars: list[torch.Tensor]) -> list[Any]:
    """Their numbers, at once: an accelerator is waited for, and what it has not begun waits for that."""
    return torch.stack(scalars).tolist() if scalars else []


def place(model: nn.Module, device: torch.device, first_weights: FirstWeights | None) -> None:
    """Bring to the device what this process holds of a model; one of shapes alone gets memory and first weights."""
    if first_weights is None:
        model.to(device)
    else:
        model.to_empty(device=device)
        first_weights(model)


def dealt(slots: int, index: int, count: int) -> list[Share]:
    """What process `index` of `count` computes of a step: whole micro-batches if they come out even, else rows.

    Every process has as many shares as the others.
    """
    parts = count // math.gcd(slots, count)
    each = slots * parts // count
    return [Share(number // parts, number % parts, parts) for number in range(index * each, (index + 1) * each)]


@contextlib.contextmanager
def unchanged() -> Iterator[None]:
    """The number format as it is."""
    yield
