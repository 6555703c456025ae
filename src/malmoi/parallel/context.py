"""Context parallelism: each process computes a part of every row, and looks at the keys and values of all parts.

The way of Llama 3 (arXiv:2407.21783, section 3.3.2): keys and values are gathered, few where heads share them. Hidden
states are those of whole rows before a stack of blocks, and of the own part inside of it. Behind it they stay so where
each token has a target; what a decoder or a head of classes looks at is gathered.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from malmoi.core.errors import UserError
from malmoi.data.batch import Batch, TargetBatch
from malmoi.layers.attention import Attention
from malmoi.layers.cache import LayerCache
from malmoi.layers.global_attention import GlobalAttention
from malmoi.layers.rotary import RotaryTable
from malmoi.layers.short_convolution import ShortConvolution
from malmoi.layers.stores import Kept, Store
from malmoi.models.classifier import Classifier
from malmoi.models.encoder import Encoder
from malmoi.models.gpt import GPT
from malmoi.models.seq2seq import EncoderDecoder
from malmoi.objectives.causal import Causal
from malmoi.objectives.classification import Classification
from malmoi.objectives.joint import Joint
from malmoi.objectives.masked import Masked
from malmoi.objectives.objective import Objective
from malmoi.objectives.sequence_to_sequence import SequenceToSequence
from malmoi.parallel.collectives import gathered
from malmoi.parallel.stacks import SEQUENCE, runs

_OF_TOKENS = (Causal, Masked, SequenceToSequence)
_ARGUMENTS = tuple(inspect.signature(Attention.forward).parameters)[1:]


@dataclass(frozen=True)
class RowParts:
    """Equal parts of every row, of which a process has one.

    Attributes:
        count: how many there are.
        own: number of its own.
        gathered: the parts of all, one after the other along a dimension; backward each gets the sum of what the others
            found for its part.
    """

    count: int
    own: int
    gathered: Callable[[torch.Tensor, int], torch.Tensor]

    @classmethod
    def among(cls, group: dist.ProcessGroup) -> RowParts:
        """Those of the processes of a group."""

        def gather(part: torch.Tensor, dimension: int) -> torch.Tensor:
            return gathered(part, group, dimension)

        return cls(dist.get_world_size(group), dist.get_rank(group), gather)

    @classmethod
    def alone(cls, count: int) -> RowParts:
        """The last of so many, where the other processes are not there: all have what this one has."""
        return cls(count, count - 1, lambda part, dimension: torch.cat([part] * count, dimension))

    def of(self, whole: torch.Tensor, dimension: int) -> torch.Tensor:
        """The own part; it holds no memory of the others."""
        return whole.chunk(self.count, dimension)[self.own].contiguous()

    def widened(self, part: torch.Tensor) -> torch.Tensor:
        """(rows, part, width) as a piece of whole rows, with zeros around it."""
        length = part.shape[SEQUENCE]
        return F.pad(part, (0, 0, length * self.own, length * (self.count - 1 - self.own)))


class ContextPart:
    """Lets a model compute the part of each row that belongs to this process, while it is trained and validated.

    Raises:
        UserError: what the model or the objective computes of a part depends on more than keys and values of others.
    """

    def __init__(self, model: nn.Module, objective: Objective, parts: RowParts) -> None:
        if problem := rows_problem(model, objective):
            raise UserError(problem, "Leave context out of the layout.")
        self._parts, self._computes = parts, False
        self._reads_rows = not isinstance(objective, _OF_TOKENS)
        for run in runs(model):
            run.first.register_forward_pre_hook(self._enter, prepend=True)
            if self._reads_rows or (isinstance(model, EncoderDecoder) and run.stack.startswith("encoder.")):
                run.last.register_forward_hook(partial(self._leave, lambda own: parts.gathered(own, SEQUENCE)))
            elif not run.ends:  # the process with the next blocks takes rows as embeddings make them
                run.last.register_forward_hook(partial(self._leave, parts.widened))
        for module in model.modules():
            if isinstance(module, Attention):
                module.register_forward_pre_hook(self._attend, with_kwargs=True)

    def of(self, batch: Batch, part: int | None = None) -> Batch:
        """Whole rows, with what this process learns of them, or another one that has `part`."""
        part = self._parts.own if part is None else part
        if self._reads_rows:
            return batch.learning(part, self._parts.count)
        assert isinstance(batch, TargetBatch)
        return batch.with_targets_of(part, self._parts.count)

    @contextlib.contextmanager
    def computed(self) -> Iterator[None]:
        """Inside, the model computes this part of the rows that it is given."""
        self._computes = True
        try:
            yield
        finally:
            self._computes = False

    def _enter(self, _block: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._parts.of(inputs[0], SEQUENCE), *inputs[1:]) if self._computes else inputs

    def _leave(
        self, way: Callable[[torch.Tensor], torch.Tensor], _block: nn.Module, _inputs: Any, own: torch.Tensor
    ) -> torch.Tensor:
        return way(own) if self._computes else own

    def _attend(self, attention: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return of_part(self._parts, attention, inputs, named) if self._computes else (inputs, named)


def of_part(
    parts: RowParts, attention: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What `Attention.forward` takes of a part, made of the part's hidden states and what it takes of whole rows."""
    given = dict(zip(_ARGUMENTS, inputs, strict=False)) | named
    if given.get("source") is not None:  # another sequence, whose rows are whole
        return inputs, named
    assert isinstance(attention, Attention)
    length = given["hidden"].shape[SEQUENCE]
    start = parts.own * length
    end = parts.count * length if attention.pattern.ahead else start + length
    given["cache"] = LayerCache(cast(Store, _Gathering(parts, end)), None, start)
    if given.get("rotary") is not None:
        given["rotary"] = RotaryTable(*(parts.of(table, 0) for table in given["rotary"]))
    if given.get("bias") is not None:
        given["bias"] = parts.of(given["bias"], 1)[..., :end]
    if given.get("real") is not None:
        given["real"] = given["real"][:, :end]
    return (given.pop("hidden"),), given


@dataclass(frozen=True)
class _Gathering:
    """A store that holds what all processes have, up to position `end`; gradients go back to them."""

    parts: RowParts
    end: int

    def extend(self, start: int, key: torch.Tensor, value: torch.Tensor) -> Kept:
        both = self.parts.gathered(torch.stack([key, value]), 3)[:, :, :, : self.end]
        return Kept(both[0], both[1], later=self.end - start - key.shape[2])


def rows_problem(model: nn.Module, objective: Objective) -> str:
    """Why the rows of a training cannot be divided, in a sentence; nothing where they can."""
    if not isinstance(objective, (*_OF_TOKENS, Classification, Joint)):
        return "Only rows with targets or classes can be divided."
    body = model.body if isinstance(model, Classifier) else model
    if not isinstance(body, GPT | Encoder | EncoderDecoder) or getattr(body.config, "reversible", False):
        return f"The rows of a {type(body).__name__} cannot be divided among processes."
    others = (name for name, one in model.named_modules() if isinstance(one, ShortConvolution | GlobalAttention))
    name = next(others, "")
    return f"{name} looks at other tokens than through keys and values, so that rows cannot be divided." if name else ""
