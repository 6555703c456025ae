"""Tensor parallelism: heads, the feed-forward's width and the vocabulary are divided, and between them the sequence.

Shoeybi and others 2019, Megatron-LM, arXiv:1909.08053; for the sequence Korthikanti and others 2022, arXiv:2205.05198.
The hidden states between two blocks are whole outside the stack; inside, each process norms and adds only its part of
the sequence. Parameters become `DTensor`s, which know how they are divided; what is computed with is the local part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard, distribute_tensor
from torch.nn import functional as F

from malmoi.core.errors import UserError
from malmoi.layers.attention import Attention
from malmoi.layers.feed_forward import FeedForward
from malmoi.layers.low_rank import LowRankLinear
from malmoi.layers.relative_positions import RelativePositions
from malmoi.layers.short_convolution import ShortConvolution
from malmoi.parallel.collectives import copied, gathered, put_together, scattered, split
from malmoi.parallel.data import local
from malmoi.parallel.stacks import BLOCKS, SEQUENCE, runs
from malmoi.parallel.vocabulary import VocabularyEmbedding, VocabularyLinear


def divide_tensors(model: nn.Module, mesh: DeviceMesh) -> list[str]:
    """Give this process its part of every matrix of `model`, in place.

    The length of every batch must be a multiple of the number of processes.

    Returns:
        names of the parameters that stay whole but see only a part of heads or sequence; their gradients are to be
        added up.

    Raises:
        UserError: the model has parts that cannot be divided.
    """
    _check(model, mesh.size())
    group = mesh.get_group()
    for name, module in list(model.named_modules()):
        if isinstance(module, Attention):
            _divide_attention(module, mesh, other=name.endswith("cross_attention"))
        elif isinstance(module, FeedForward):
            _divide_feed_forward(module, mesh)
        elif isinstance(module, RelativePositions):
            module.register_forward_hook(lambda _module, _inputs, bias: bias.chunk(mesh.size())[mesh.get_local_rank()])
    for run in runs(model):
        run.first.register_forward_pre_hook(lambda _module, inputs: _first(inputs, split, group))
        run.last.register_forward_hook(lambda _module, _inputs, hidden: put_together(hidden, group, SEQUENCE))
    _divide_vocabulary(model, mesh)
    whole = [name for name, parameter in model.named_parameters() if not isinstance(parameter, DTensor)]
    return [name for name in whole if f"{BLOCKS}." in name or "relative_positions" in name]


class DividedLinear(nn.Linear):
    """A linear layer of which a process has some outputs (rows of the weight), or takes some inputs (its columns)."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., own inputs) to (..., own outputs), or to this process's part of a sum."""
        weight = self.weight
        assert isinstance(weight, DTensor)
        again = weight.placements[-1].is_shard(1) and weight.device_mesh.get_local_rank() > 0
        bias = None if self.bias is None or again else local(self.bias)  # the sum has it once
        return F.linear(hidden, local(weight), bias)


class DividedLowRank(LowRankLinear):
    """The same for a low-rank difference: the one of its matrices is divided that meets the divided side."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """See `DividedLinear`."""
        result: torch.Tensor = self.base(hidden)
        return result + F.linear(F.linear(hidden, local(self.narrow)) * self.scale, local(self.widen))


def _check(model: nn.Module, processes: int) -> None:
    config = getattr(model, "config", None)
    if getattr(config, "reversible", False):
        raise UserError("The tensors of a reversible model cannot be divided.", "Use data or shard in its layout.")
    for name, module in model.named_modules():
        if isinstance(module, ShortConvolution):
            raise UserError(f"{name} looks at its neighbours in the sequence.", "Use data or shard in its layout.")
        if isinstance(module, Attention):
            for heads in (module.heads, module.key_value_heads):
                if heads % processes:
                    raise UserError(
                        f"{heads} heads of {name} cannot be divided among {processes} processes.",
                        f"Set tensor to a divisor of {heads}.",
                    )
            if module.mix.shares_keys:
                raise UserError(f"{name}: hashed attention cannot be divided.", "Use data or shard in its layout.")


def _divide_attention(attention: Attention, mesh: DeviceMesh, other: bool) -> None:
    """Each process has some heads.

    Args:
        other: it looks at another sequence, whose states come whole.
    """
    group = mesh.get_group()
    for name in ("query", "key", "value", "global_query", "global_key", "global_value"):
        if getattr(attention, name, None) is not None:
            _divide_linear(attention, name, mesh, Shard(0))
    _divide_linear(attention, "output", mesh, Shard(1))
    attention.heads //= mesh.size()
    attention.key_value_heads //= mesh.size()
    attention.register_forward_pre_hook(lambda _module, inputs: _first(inputs, gathered, group))
    attention.output.register_forward_hook(lambda _module, _inputs, partial: scattered(partial, group, SEQUENCE))
    if other:
        attention.keys_and_values = _entering(attention.keys_and_values, group)  # type: ignore[method-assign]


def _divide_feed_forward(layer: FeedForward, mesh: DeviceMesh) -> None:
    group = mesh.get_group()
    if layer.gate is not None:
        _divide_linear(layer, "gate", mesh, Shard(0))
    _divide_linear(layer, "up", mesh, Shard(0))
    _divide_linear(layer, "down", mesh, Shard(1))
    layer.register_forward_pre_hook(lambda _module, inputs: _first(inputs, gathered, group))
    layer.down.register_forward_hook(lambda _module, _inputs, partial: scattered(partial, group, SEQUENCE))


def _divide_linear(parent: nn.Module, name: str, mesh: DeviceMesh, placement: Shard) -> None:
    linear = getattr(parent, name)
    if isinstance(linear, LowRankLinear):
        base = linear.base
        linear.__class__ = DividedLowRank
        if placement.dim:
            linear.narrow = _divided(linear.narrow, mesh, Shard(1))
        else:
            linear.widen = _divided(linear.widen, mesh, Shard(0))
    else:
        base = linear
    if type(base) is not nn.Linear:
        raise UserError(f"A layer of {type(base).__name__} cannot be divided.", "Use data or shard in the layout.")
    base.__class__ = DividedLinear
    base.weight = _divided(base.weight, mesh, placement)
    if base.bias is not None and placement.dim == 0:
        base.bias = _divided(base.bias, mesh, placement)


def _divide_vocabulary(model: nn.Module, mesh: DeviceMesh) -> None:
    """The embedding of tokens and what gives scores to tokens, wherever they stand."""
    for name, module in list(model.named_modules()):
        last = name.rsplit(".", 1)[-1]
        if type(module) is nn.Embedding and last == "embedding":
            module.__class__ = VocabularyEmbedding
            module.weight = _divided(module.weight, mesh, Shard(0))
        elif type(module) is nn.Linear and last == "head":
            module.__class__ = VocabularyLinear
            module.weight = _divided(module.weight, mesh, Shard(0))


def _divided(parameter: torch.Tensor, mesh: DeviceMesh, placement: Placement) -> nn.Parameter:
    """The process's part of what all processes have whole; nothing is sent."""
    if parameter.is_meta:
        part: torch.Tensor = distribute_tensor(parameter, mesh, [placement])
    else:
        part = DTensor.from_local(parameter.detach(), mesh, [Replicate()], run_check=False).redistribute(
            mesh, [placement]
        )
        part = DTensor.from_local(
            part.to_local().clone(),
            mesh,
            [placement],
            run_check=False,
            shape=parameter.shape,
            stride=parameter.stride(),
        )
    return nn.Parameter(part, requires_grad=parameter.requires_grad)


def _first(inputs: tuple[Any, ...], exchange: Callable[..., torch.Tensor], group: dist.ProcessGroup) -> tuple[Any, ...]:
    return (exchange(inputs[0], group, SEQUENCE), *inputs[1:])


def _entering(function: Callable[..., Any], group: dist.ProcessGroup) -> Callable[..., Any]:
    def entered(hidden: torch.Tensor, *arguments: Any) -> Any:
        return function(copied(hidden, group), *arguments)

    return entered
