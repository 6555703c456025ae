"""Exchanges between processes that gradients go through.

The pairs of Shoeybi and others 2019 (arXiv:1909.08053) and, along the sequence, of Korthikanti and others 2022
(arXiv:2205.05198): what one does forward, its partner does backward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

Group = dist.ProcessGroup

all_gather: Callable[..., Any] = getattr(dist, "all_gather_single", dist.all_gather_into_tensor)
reduce_scatter: Callable[..., Any] = getattr(dist, "reduce_scatter_single", dist.reduce_scatter_tensor)
"""Named so from PyTorch 2.13 on."""


def copied(hidden: torch.Tensor, group: Group) -> torch.Tensor:
    """The same everywhere, to be used for different things; backward the gradients are added up."""
    result: torch.Tensor = _Copied.apply(hidden, group)  # type: ignore[no-untyped-call]
    return result


def summed(partial: torch.Tensor, group: Group) -> torch.Tensor:
    """The sum over the processes, which all have it then; backward the gradient goes to each as it is."""
    result: torch.Tensor = _Summed.apply(partial, group)  # type: ignore[no-untyped-call]
    return result


def gathered(part: torch.Tensor, group: Group, dimension: int) -> torch.Tensor:
    """The equal parts of all processes one after the other, to be used for different things; backward: `scattered`."""
    result: torch.Tensor = _Gathered.apply(part, group, dimension)  # type: ignore[no-untyped-call]
    return result


def scattered(partial: torch.Tensor, group: Group, dimension: int) -> torch.Tensor:
    """The own part of the sum over the processes; backward: `gathered`."""
    result: torch.Tensor = _Scattered.apply(partial, group, dimension)  # type: ignore[no-untyped-call]
    return result


def split(whole: torch.Tensor, group: Group, dimension: int) -> torch.Tensor:
    """The own part of what all have; backward the parts' gradients are put together."""
    result: torch.Tensor = _Split.apply(whole, group, dimension)  # type: ignore[no-untyped-call]
    return result


def joined(part: torch.Tensor, group: Group, dimension: int) -> torch.Tensor:
    """The parts of all put together, to be used by all for the same; backward: the own part of the gradient."""
    result: torch.Tensor = _Joined.apply(part, group, dimension)  # type: ignore[no-untyped-call]
    return result


def gather(part: torch.Tensor, group: Group, dimension: int) -> torch.Tensor:
    """The equal parts of all processes one after the other along `dimension`, without gradients."""
    parts = part.new_empty(dist.get_world_size(group), *part.shape)
    all_gather(parts.view(-1, *part.shape[1:]), part.contiguous(), group=group)
    return torch.cat(parts.unbind(), dimension)


def _scatter(whole: torch.Tensor, group: Group, dimension: int) -> torch.Tensor:
    parts = torch.stack(whole.chunk(dist.get_world_size(group), dimension))
    own = torch.empty_like(parts[0])
    reduce_scatter(own, parts.view(-1, *own.shape[1:]), group=group)
    return own


def _own(whole: torch.Tensor, group: Group, dimension: int) -> torch.Tensor:
    return whole.chunk(dist.get_world_size(group), dimension)[dist.get_rank(group)].contiguous()


class _Copied(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, group: Group) -> torch.Tensor:
        ctx.group = group
        return hidden.view_as(hidden)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient, group=ctx.group)
        return gradient, None


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, partial: torch.Tensor, group: Group) -> torch.Tensor:
        whole = partial.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(whole, group=group)
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0], None


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: torch.Tensor, group: Group, dimension: int) -> torch.Tensor:
        ctx.group, ctx.dimension = group, dimension
        return gather(part, group, dimension)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _scatter(gradients[0], ctx.group, ctx.dimension), None, None


class _Scattered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, partial: torch.Tensor, group: Group, dimension: int) -> torch.Tensor:
        ctx.group, ctx.dimension = group, dimension
        return _scatter(partial, group, dimension)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gather(gradients[0], ctx.group, ctx.dimension), None, None


class _Split(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, whole: torch.Tensor, group: Group, dimension: int) -> torch.Tensor:
        ctx.group, ctx.dimension = group, dimension
        return _own(whole, group, dimension)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gather(gradients[0], ctx.group, ctx.dimension), None, None


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: torch.Tensor, group: Group, dimension: int) -> torch.Tensor:
        ctx.group, ctx.dimension = group, dimension
        return gather(part, group, dimension)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _own(gradients[0], ctx.group, ctx.dimension), None, None
