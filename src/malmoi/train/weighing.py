"""What a micro-batch holds in memory, weighed on tensors without memory: for any model and objective.

The objective runs forward and backward on PyTorch's fake tensors, and every storage is counted from its birth to its
end. The batch is real: where a loss looks only at some positions, their number is known.
"""

from __future__ import annotations

import copy
import re
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from malmoi.data.batch import Batch
from malmoi.layers.attention import Attention
from malmoi.layers.feed_forward import FeedForward
from malmoi.objectives.objective import Objective
from malmoi.train.precision import Precision, autocast
from malmoi.train.recompute import WHOLE, recomputing

_CPU = torch.device("cpu")
_BLOCK = re.compile(r"(?:.*\.)?blocks\.(\d+)")

_OPAQUE = (torch.ops.aten.mkldnn_rnn_layer.default,)
"""Operations that tell only real tensors how much they keep."""

FIRST, REST, TABLE = -1, -2, -3
"""Stand beside the numbers of blocks: what comes before the first one, and behind it outside of blocks; of the latter,
what has a row for every token of the vocabulary."""


@dataclass(frozen=True)
class Weight:
    """Bytes of one micro-batch in a process that has the whole model.

    Attributes:
        kept: for the backward pass, by the number of the block in the order of modules, and FIRST, REST and TABLE.
        inner: what the attention and feed-forward layers of each block are given, unless all of it is computed again.
        forward: what more there is by the same places, when there is most in the forward pass.
        backward: the most there is for a while in the backward pass, beside what is kept and the gradients: at REST
            before it comes to the blocks, and at FIRST from there on.
    """

    kept: Mapping[int, int]
    inner: Mapping[int, int]
    forward: Mapping[int, int]
    backward: Mapping[int, int]


class Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages that were made inside and still exist.

    Attributes:
        place: where the forward pass is: a block, FIRST or REST.
        kept: bytes by the place where they were made.
        most, then: bytes there were at once, and those by place.
        turns: `most` between the calls of `turn`.
    """

    def __init__(self, vocabulary: int = 0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: Counter[int] = Counter()
        self.place, self.most, self.then, self._vocabulary = FIRST, 0, Counter[int](), vocabulary
        self.turns: dict[int, int] = {}
        self._known: dict[int, Any] = {}

    @property
    def bytes(self) -> int:
        """Of all places."""
        return self.kept.total()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        if function is torch.ops.aten.index.Tensor:
            arguments = (arguments[0], [number for index in arguments[1] for number in _numbers(index)])
        if function in _OPAQUE and isinstance(arguments[0], FakeTensor):
            result = _really(function, arguments)
        else:
            result = function(*arguments, **(named or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.meet(tensor)
        return result

    def meet(self, tensor: torch.Tensor) -> None:
        """Count the storage of a tensor, if it is a new one."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._known:
            place = TABLE if self.place == REST and tensor.shape[:1] == (self._vocabulary,) else self.place
            self.kept[place] += storage.nbytes()
            self._known[storage._cdata] = weakref.finalize(storage, self._end, storage._cdata, place, storage.nbytes())
            if self.bytes > self.most:
                self.most, self.then = self.bytes, self.kept.copy()

    def turn(self, place: int) -> None:
        """Say that the backward pass is done with a place; only the first time counts."""
        if place not in self.turns:
            self.turns[place], self.most = self.most, self.bytes

    def _end(self, key: int, place: int, size: int) -> None:
        self.kept[place] -= size
        del self._known[key]


def without_memory(model: nn.Module) -> nn.Module:
    """A copy whose parameters, and what else has no memory, are fake tensors on the CPU."""
    tensors = [*model.parameters(), *(one for one in model.buffers() if one.is_meta)]
    with FakeTensorMode(allow_non_fake_inputs=True):
        fakes = {id(one): torch.empty(one.shape, dtype=one.dtype) for one in tensors}
    for one in model.parameters():
        fakes[id(one)] = nn.Parameter(fakes[id(one)], requires_grad=one.requires_grad)
    return copy.deepcopy(model, fakes).train()


def weigh(
    model: nn.Module, objective: Objective, batch: Batch, precision: Precision, recompute: str, vocabulary: int
) -> Weight:
    """Run a micro-batch forward and backward.

    Args:
        model: see `without_memory`; its gradients are gone afterwards.

    Raises:
        RuntimeError: something cannot be had without numbers.
    """
    alive, parameters = Alive(vocabulary), list(model.parameters())
    for parameter in parameters:
        alive.meet(parameter)
    own = alive.bytes
    undisturbed = torch.random.fork_rng(devices=[])
    with undisturbed, alive, recomputing(model, recompute), _watched(model, alive, recompute, precision) as inner:
        with autocast(_CPU, precision):
            total = objective.loss(model, batch.to(_CPU)).total
        kept, forward = alive.kept.copy(), alive.then.copy()
        forward.subtract(kept)
        alive.most = 0
        total.backward()  # type: ignore[no-untyped-call]
        alive.turn(FIRST)
    kept[FIRST] -= own
    gradients = sum(one.grad.nbytes for one in parameters if one.grad is not None)
    model.zero_grad()
    beside = own + max(gradients, kept.total())
    return Weight(kept, inner, forward, {place: max(0, most - beside) for place, most in alive.turns.items()})


@contextmanager
def _watched(model: nn.Module, alive: Alive, recompute: str, precision: Precision) -> Iterator[Counter[int]]:
    """Inside, `alive` knows where the forward pass is; gives `Weight.inner`."""
    handles, inner = [], Counter[int]()
    part, _, every = recompute.partition(":")
    for index, (own_index, block) in enumerate(blocks_of(model)):

        def begin(*_: Any, place: int = index) -> None:
            alive.place = place

        def end(_block: nn.Module, _inputs: Any, output: Any) -> None:
            alive.place = REST
            hidden = tree_leaves(output)[0]
            if hidden.requires_grad:
                hidden.register_hook(lambda _: alive.turn(REST))

        def given(layer: nn.Module, inputs: tuple[Any, ...], place: int = index, again: Any = None) -> None:
            for one in inputs:
                if isinstance(one, torch.Tensor) and one.dim() == 3:
                    size = one.element_size() if layer is again else product_bytes(precision)
                    inner[place] += one.numel() * size

        handles += [block.register_forward_pre_hook(begin), block.register_forward_hook(end)]
        recomputed = bool(part) and own_index % int(every or 1) == 0
        if not (recomputed and part == WHOLE):
            given = partial(given, again=block.get_submodule(part) if recomputed else None)
            layers = (one for one in block.modules() if isinstance(one, Attention | FeedForward))
            handles += [layer.register_forward_pre_hook(given) for layer in layers]
    try:
        yield inner
    finally:
        for handle in handles:
            handle.remove()


def blocks_of(model: nn.Module) -> list[tuple[int, nn.Module]]:
    """The blocks of all stacks, each with its number in its own."""
    return [(int(match[1]), one) for name, one in model.named_modules() if (match := _BLOCK.fullmatch(name))]


def product_bytes(precision: Precision) -> int:
    """Of a number that a product takes."""
    return int(getattr(torch, precision).itemsize)


def _numbers(index: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
    """An index as numbers: how many places are true is known while these are real."""
    return index.nonzero(as_tuple=True) if index is not None and index.dtype == torch.bool else (index,)


def _really(function: Any, arguments: Any) -> Any:
    """What an operation gives of real zeros, without memory."""
    fake = arguments[0]
    real = tree_map_only(FakeTensor, lambda one: torch.zeros(one.shape, dtype=one.dtype), arguments)
    return tree_map_only(torch.Tensor, lambda one: fake.new_empty(one.shape, dtype=one.dtype), function(*real))
