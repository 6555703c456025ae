"""Context parallelism: each process computes a part of every row, and looks at the keys and values of all parts.

The way of Llama 3 (arXiv:2407.21783, section 3.3.2): keys and values are gathered, few where heads share them, and a
process has one piece from the beginning of a row and one from its end, so that all look at equally many keys where
tokens look back. Hidden states are those of whole rows before a stack of blocks, and of the own part inside of it.
Behind it they stay so where each token has a target; what a decoder or a head of classes looks at is gathered.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn

from malmoi.core.errors import UserError
from malmoi.data.batch import Batch, TargetBatch
from malmoi.layers.attention import Attention
from malmoi.layers.cache import LayerCache
from malmoi.layers.global_attention import GlobalAttention
from malmoi.layers.mixes.heads import Heads
from malmoi.layers.pattern import FULL
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
    """Equal parts of every row, of which a process has one: two of twice as many pieces, as far from both ends.

    Attributes:
        count: how many there are.
        own: number of its own.
        exchanged: the parts of all, one after the other along a dimension; backward each gets the sum of what the
            others found for its part.
    """

    count: int
    own: int
    exchanged: Callable[[torch.Tensor, int], torch.Tensor]

    @classmethod
    def among(cls, group: dist.ProcessGroup) -> RowParts:
        """Those of the processes of a group."""

        def gather(part: torch.Tensor, dimension: int) -> torch.Tensor:
            return gathered(part, group, dimension)

        return cls(dist.get_world_size(group), dist.get_rank(group), gather)

    @classmethod
    def alone(cls, count: int, own: int) -> RowParts:
        """Those of a group of so many whose others are not there: all have what this one has."""
        return cls(count, own, lambda part, dimension: torch.cat([part] * count, dimension))

    @property
    def pieces(self) -> tuple[int, int]:
        """Numbers of the own ones."""
        return self.own, 2 * self.count - 1 - self.own

    def of(self, whole: torch.Tensor, dimension: int) -> torch.Tensor:
        """The own part, of a length that the pieces divide."""
        pieces = whole.chunk(2 * self.count, dimension)
        return torch.cat([pieces[number] for number in self.pieces], dimension)

    def gathered(self, part: torch.Tensor, dimension: int) -> torch.Tensor:
        """The whole, of the parts of all; backward each gets the sum of what the others found for its part."""
        pieces = self.exchanged(part, dimension).chunk(2 * self.count, dimension)
        return torch.cat([*pieces[::2], *pieces[::-2]], dimension)

    def widened(self, part: torch.Tensor) -> torch.Tensor:
        """(rows, part, width) in the places of whole rows, with zeros elsewhere."""
        first, last = part.chunk(2, SEQUENCE)
        zeros = part.new_zeros(part.shape[0], first.shape[SEQUENCE], part.shape[2])
        pieces = [zeros] * (2 * self.count)
        pieces[self.pieces[0]], pieces[self.pieces[1]] = first, last
        return torch.cat(pieces, SEQUENCE)


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
                divide_attention(module, parts, lambda: self._computes)

    def of(self, batch: Batch) -> Batch:
        """Whole rows, with what this process learns of them."""
        if self._reads_rows:
            return batch.learning(self._parts.own, self._parts.count)
        assert isinstance(batch, TargetBatch)
        return batch.with_targets(partial(self._parts.of, dimension=SEQUENCE))

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


def divide_attention(attention: Attention, parts: RowParts, computes: Callable[[], bool] = lambda: True) -> None:
    """Let attention take hidden states of the own part with all else of whole rows, and give those of the part.

    Args:
        computes: whether it does so now.
    """
    mixed = attention.mixed

    def given(_attention: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return _of_part(parts, inputs, named) if computes() else (inputs, named)

    def by_pieces(heads: Heads, hidden: torch.Tensor) -> torch.Tensor:
        return _by_pieces(parts, mixed, heads, hidden) if computes() else mixed(heads, hidden)

    attention.register_forward_pre_hook(given, with_kwargs=True)
    attention.mixed = by_pieces  # type: ignore[method-assign]


def _of_part(parts: RowParts, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """What `Attention.forward` takes of a part."""
    given = dict(zip(_ARGUMENTS, inputs, strict=False)) | named
    if given.get("source") is not None:  # another sequence, whose rows are whole
        return inputs, named
    given["cache"] = LayerCache(cast(Store, _Gathering(parts)), None, 0)
    if given.get("rotary") is not None:
        given["rotary"] = RotaryTable(*(parts.of(table, 0) for table in given["rotary"]))
    if given.get("bias") is not None:
        given["bias"] = parts.of(given["bias"], 1)
    return (given.pop("hidden"),), given


def _by_pieces(
    parts: RowParts, mixed: Callable[[Heads, torch.Tensor], torch.Tensor], heads: Heads, hidden: torch.Tensor
) -> torch.Tensor:
    """`Attention.mixed` of the own part's queries and the keys of whole rows."""
    if heads.pattern == FULL:
        return mixed(heads, hidden)
    results, length = [], heads.length // 2
    for number, piece in enumerate(parts.pieces):
        own, start = slice(number * length, (number + 1) * length), piece * length
        end = heads.seen if heads.pattern.ahead else start + length
        some = replace(
            heads,
            query=heads.query[:, :, own],
            key=heads.key[:, :, :end],
            value=heads.value[:, :, :end],
            real=None if heads.real is None else heads.real[:, :end],
            bias=None if heads.bias is None else heads.bias[:, own, :end],
            later=end - start - length,
        )
        results.append(mixed(some, hidden).transpose(1, 2))
    return torch.cat(results, 1).transpose(1, 2)  # as the kernel lays it out, so that nothing is copied again


@dataclass(frozen=True)
class _Gathering:
    """A store that holds what all processes have; gradients go back to them."""

    parts: RowParts

    def extend(self, start: int, key: torch.Tensor, value: torch.Tensor) -> Kept:
        both = self.parts.gathered(torch.stack([key, value]), 3)
        return Kept(both[0], both[1])


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
