"""Exchanges between processes that gradients go through.

The pairs of Shoeybi and others 2019 (arXiv:1909.08053) and, along the sequence, of Korthikanti and others 2022
(arXiv:2205.05198): what one does forward, its partner does backward.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

Group = dist.ProcessGroup
Exchange = Callable[[torch.Tensor], torch.Tensor]

all_gather: Callable[..., Any] = getattr(dist, "all_gather_single", dist.all_gather_into_tensor)
reduce_scatter: Callable[..., Any] = getattr(dist, "reduce_scatter_single", dist.reduce_scatter_tensor)
"""Named so from PyTorch 2.13 on."""


def copied(hidden: torch.Tensor, group: Group) -> torch.Tensor:
    """The same everywhere, to be used for different things; backward the gradients are added up."""
    return _exchanged(hidden, _same, partial(_sum, group=group))


def summed(part: torch.Tensor, group: Group) -> torch.Tensor:
    """The sum over the processes, which all have it then; backward the gradient goes to each as it is."""
    return _exchanged(part, partial(_sum, group=group), _same)


def gathered(part: torch.Tensor, group: Group, dimension: int) -> torch.Tensor:
    """The equal parts of all processes one after the other, to be used for different things; backward: `scattered`."""
    way: dict[str, Any] = {"group": group, "dimension": dimension}
    return _exchanged(part, partial(gather, **way), partial(_scatter, **way))


def scattered(part: torch.Tensor, group: Group, dimension: int) -> torch.Tensor:
    """The own part of the sum over the processes; backward: `gathered`."""
    way: dict[str, Any] = {"group": group, "dimension": dimension}
    return _exchanged(part, partial(_scatter, **way), partial(gather, **way))


def split(whole: torch.Tensor, group: Group, dimension: int) -> torch.Tensor:
    """The own part of what all have; backward the parts' gradients are put together."""
    way: dict[str, Any] = {"group": group, "dimension": dimension}
    return _exchanged(whole, partial(_own, **way), partial(gather, **way))


def put_together(part: torch.Tensor, group: Group, dimension: int) -> torch.Tensor:
    """The parts of all put together, to be used by all for the same; backward: the own part of the gradient."""
    way: dict[str, Any] = {"group": group, "dimension": dimension}
    return _exchanged(part, partial(gather, **way), partial(_own, **way))


def gather(part: torch.Tensor, group: Group, dimension: int) -> torch.Tensor:
    """The equal parts of all processes one after the other along `dimension`, without gradients."""
    parts = part.new_empty(dist.get_world_size(group), *part.shape)
    all_gather(parts.view(-1, *part.shape[1:]), part.contiguous(), group=group)
    return torch.cat(parts.unbind(), dimension)


def _same(hidden: torch.Tensor) -> torch.Tensor:
    return hidden.view_as(hidden)


def _sum(part: torch.Tensor, group: Group) -> torch.Tensor:
    whole = part.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(whole, group=group)
    return whole


def _scatter(whole: torch.Tensor, group: Group, dimension: int) -> torch.Tensor:
    parts = torch.stack(whole.chunk(dist.get_world_size(group), dimension))
    own = torch.empty_like(parts[0])
    reduce_scatter(own, parts.view(-1, *own.shape[1:]), group=group)
    return own


def _own(whole: torch.Tensor, group: Group, dimension: int) -> torch.Tensor:
    return whole.chunk(dist.get_world_size(group), dimension)[dist.get_rank(group)].contiguous()


def _exchanged(hidden: torch.Tensor, there: Exchange, back: Exchange) -> torch.Tensor:
    result: torch.Tensor = _Exchanged.apply(hidden, there, back)  # type: ignore[no-untyped-call]
    return result


class _Exchanged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, there: Exchange, back: Exchange) -> torch.Tensor:
        ctx.back = back
        return there(hidden)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return ctx.back(gradients[0]), None, None
