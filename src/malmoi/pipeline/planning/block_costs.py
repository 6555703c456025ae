"""What one block costs: what it keeps for the backward pass, its products and the memory they move.

Counted, not estimated: a block of the size that one process has runs forward and backward on tensors without memory
(PyTorch's FakeTensorMode), and everything it does is written down. Korthikanti and others 2022, arXiv:2205.05198,
derive the same by hand: 34 bytes a token and unit of width where all is bfloat16 and dropout is on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from malmoi.layers.rotary import RotaryTable
from malmoi.models.gpt import Block
from malmoi.models.gpt_config import GPTConfig
from malmoi.parallel.context import RowParts, divide_attention
from malmoi.train.precision import Precision, autocast

_CPU = torch.device("cpu")
_PRODUCTS = (
    "aten.mm",
    "aten.addmm",
    "aten.bmm",
    "aten.baddbmm",
    "aten._scaled_dot_product",
    "prim.",
    "aten._unsafe_view",
)
"""Operations that are no traffic of their own: products, counted as such, and what moves nothing."""

_WITH_WEIGHTS = (torch.ops.aten.mm, torch.ops.aten.addmm)


@dataclass(frozen=True)
class LocalBlock:
    """The block of one process: its part of the heads and of the feed-forward layer, and of the rows.

    Attributes:
        rows: of a micro-batch.
        length: tokens of a row, over all processes.
        tensor, context: sizes of those axes.
        precision: of the products.
        autocast: weights are float32 and cast for every product, as in this project; else everything is in `precision`.
        recompute: part of a block that keeps its input only, or "blocks" for all of it.
    """

    config: GPTConfig
    rows: int
    length: int
    tensor: int = 1
    context: int = 1
    precision: Precision = "bfloat16"
    autocast: bool = True
    recompute: str = ""


@dataclass(frozen=True)
class BlockCosts:
    """Of one micro-batch.

    Attributes:
        kept: bytes that wait for the backward pass, parameters left aside.
        products: operations of matrix products with weights, forward.
        attention: operations of attention, forward, of the pairs that are looked at.
        traffic_forward, traffic_backward: bytes that all other operations read and write.
    """

    kept: int
    products: float
    attention: float
    traffic_forward: float
    traffic_backward: float


@cache
def block_costs(local: LocalBlock) -> BlockCosts:
    """Costs of a block, the mean over the ways in which the layers attend.

    They grow evenly with the rows, from what weights cost alone: one row and two are counted, more follow from these.
    """
    if local.rows > 2:
        one, two = (block_costs(replace(local, rows=rows)) for rows in (1, 2))
        grown = {
            name: getattr(one, name) + (local.rows - 1) * (getattr(two, name) - getattr(one, name))
            for name in BlockCosts.__annotations__
        }
        return BlockCosts(**grown)
    ways = range(min(local.config.layers, len(local.config.attention)))
    counted = [_count(local, index) for index in ways]
    means = {name: sum(getattr(one, name) for one in counted) / len(counted) for name in BlockCosts.__annotations__}
    return BlockCosts(**{**means, "kept": round(means["kept"])})


def _count(local: LocalBlock, index: int) -> BlockCosts:
    config = local.config
    kept: dict[int, tuple[torch.Tensor, int]] = {}
    own: set[int] = set()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = (tensor, storage.nbytes())  # held, so that no other takes its address
        return tensor

    with FakeTensorMode(), _default_dtype(_dtype(local)):
        block = Block(_local_config(local), config.layer_attention(index)).train()
        own |= {parameter.untyped_storage()._cdata for parameter in block.parameters()}
        _stub(block, local.recompute)
        if local.context > 1:
            divide_attention(block.attention, RowParts.alone(local.context, local.context - 1))
        length = local.length // local.context
        hidden = torch.empty(local.rows, -(-length // local.tensor), config.width, requires_grad=True)
        rotary = _rotary(local)
        if rotary is not None:
            own |= {table.untyped_storage()._cdata for table in rotary}  # one table for all blocks
        forward, backward, counter = _Traffic(), _Traffic(), FlopCounterMode(display=False)
        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        cast = autocast(_CPU, local.precision) if local.autocast else contextlib.nullcontext()
        with cast, hooks, forward, counter:
            output = _through(block, hidden, rotary, local)
        with backward:
            output.backward(torch.empty_like(output))  # type: ignore[no-untyped-call]
    return BlockCosts(
        sum(size for _, size in kept.values()),
        _of_weights(counter),
        4.0 * local.rows * length * _seen(local, index) * config.heads // local.tensor * config.head_width,
        forward.bytes,
        backward.bytes,
    )


def _of_weights(counter: FlopCounterMode) -> int:
    """Operations of products with weights: those in batches are attention's, which is counted by its pairs."""
    counted = counter.get_flop_counts().get("Global", {})
    return sum(operations for function, operations in counted.items() if function in _WITH_WEIGHTS)


def _through(block: Block, hidden: torch.Tensor, rotary: RotaryTable | None, local: LocalBlock) -> torch.Tensor:
    """The block, with the exchanges of tensor and sequence parallelism where they stand, as changes of shape."""
    if local.recompute == "blocks":
        result: torch.Tensor = _InputOnly.apply(hidden, hidden.shape)  # type: ignore[no-untyped-call]
        return result
    if local.tensor == 1:
        whole: torch.Tensor = block(hidden, rotary)
        return whole
    gathered_shape = torch.Size((local.rows, local.length // local.context, local.config.width))
    for norm, layer, more in (
        (block.attention_norm, block.attention, (rotary,)),
        (block.feed_forward_norm, block.feed_forward, ()),
    ):
        gathered = _Exchange.apply(norm(hidden), gathered_shape)  # type: ignore[no-untyped-call]
        added = _Exchange.apply(layer(gathered, *more), hidden.shape)  # type: ignore[no-untyped-call]
        hidden = hidden + block.dropout(added)
    return hidden


class _Exchange(torch.autograd.Function):
    """Stands for gathering the parts of a sequence, or for summing and dealing them out."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        ctx.shape = hidden.shape
        return hidden.new_empty(shape)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0].new_empty(ctx.shape), None


class _InputOnly(torch.autograd.Function):
    """Stands for a part that is computed again: it keeps its input."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        ctx.save_for_backward(hidden)
        return hidden.new_empty(shape)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (hidden,) = ctx.saved_tensors
        return torch.empty_like(hidden), None


def _stub(block: nn.Module, part: str) -> None:
    if part and part != "blocks":
        layer = block.get_submodule(part)
        layer.forward = lambda hidden, *_, **__: _InputOnly.apply(hidden, hidden.shape)  # type: ignore


class _Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes that operations read and write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0.0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        result = function(*arguments, **(named or {}))
        if not function.is_view and not str(function).startswith(_PRODUCTS):
            moved = (one for one in tree_leaves((arguments, named, result)) if isinstance(one, torch.Tensor))
            self.bytes += sum(one.numel() * one.element_size() for one in moved)
        return result


def _local_config(local: LocalBlock) -> GPTConfig:
    config, tensor = local.config, local.tensor
    own = {name: getattr(config, name) // tensor for name in ("heads", "key_value_heads", "feed_forward")}
    return config.model_copy(update=own)


def _rotary(local: LocalBlock) -> RotaryTable | None:
    if local.config.positions != "rotary":
        return None
    table = torch.empty(local.length, 1, local.config.head_width, dtype=getattr(torch, local.precision))
    return RotaryTable(table, torch.empty_like(table))


def _seen(local: LocalBlock, index: int) -> float:
    """Keys that a query looks at on average."""
    back = local.config.layer_attention(index).pattern.back
    reach = min(back + 1, local.length)
    return float(reach - reach * reach / (2 * local.length))


def _dtype(local: LocalBlock) -> torch.dtype:
    return torch.float32 if local.autocast else getattr(torch, local.precision)


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Parameters of modules that are made inside have this dtype; converting fake ones later is not possible."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
