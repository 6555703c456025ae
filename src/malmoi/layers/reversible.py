"""Reversible layers: activations are computed again from what comes out, so that depth costs no memory.

Gomez and others 2017, arXiv:1707.04585; for transformers Kitaev and others 2020, Reformer, arXiv:2001.04451, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

Half = Callable[[torch.Tensor], torch.Tensor]
"""A sublayer that reads one stream and is added to the other."""


def through_reversibly(halves: Sequence[Half], modules: Sequence[nn.Module], hidden: torch.Tensor) -> torch.Tensor:
    """Two streams that both begin as `hidden`; each half reads one and is added to the other, in turn.

    The streams are added up in float64, so that what is subtracted again leaves what was there: in float32 a small
    state below large ones would come back with few digits. The halves themselves compute as they are.

    Random numbers are drawn from a seed of each half, so that dropout is the same when it is computed again.

    Args:
        halves: the sublayers, an even number of them.
        modules: whose parameters each half has.
        hidden: (rows, length, width).

    Returns:
        (rows, length, width), the mean of both streams.
    """
    seeds = torch.randint(1 << 62, (len(halves),)).tolist() if any(module.training for module in modules) else None
    stream = hidden.double()
    if not torch.is_grad_enabled():
        first, second = _forward(halves, seeds, stream, stream, hidden.dtype)
    else:
        parameters = [list(module.parameters()) for module in modules]
        flat = [parameter for some in parameters for parameter in some]
        first, second = _Reversible.apply(halves, parameters, seeds, hidden.dtype, stream, stream, *flat)  # type: ignore[no-untyped-call]
    return ((first + second) / 2).to(hidden.dtype)


def through_ordinarily(halves: Sequence[Half], seeds: Sequence[int] | None, hidden: torch.Tensor) -> torch.Tensor:
    """The same with every activation kept: what the gradient must agree with."""
    first, second = _forward(halves, seeds, hidden.double(), hidden.double(), hidden.dtype)
    return ((first + second) / 2).to(hidden.dtype)


class _Reversible(torch.autograd.Function):
    """Keeps what comes out of the last half alone."""

    @staticmethod
    def forward(
        ctx: Any,
        halves: Sequence[Half],
        parameters: list[list[nn.Parameter]],
        seeds: Sequence[int] | None,
        dtype: torch.dtype,
        first: torch.Tensor,
        second: torch.Tensor,
        *flat: nn.Parameter,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.enable_grad():  # as when it is computed again: some layers take another way without gradients
            cut = [_cut_off(half) for half in halves]
            first, second = _forward(cut, seeds, first.detach(), second.detach(), dtype)
        ctx.halves, ctx.parameters, ctx.seeds, ctx.dtype = halves, parameters, seeds, dtype
        device = first.device.type
        ctx.autocast = (device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))
        ctx.save_for_backward(first, second)
        return first, second

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        read, added = ctx.saved_tensors  # by the last half: it has read the first stream and was added to the second
        to_read, to_added = gradients
        found: list[list[torch.Tensor | None]] = []
        device, dtype, enabled = ctx.autocast
        for number in reversed(range(len(ctx.halves))):
            parameters = [one for one in ctx.parameters[number] if one.requires_grad]
            with torch.enable_grad(), torch.autocast(device, dtype, enabled), _seeded(ctx.seeds, number):
                source = read.to(ctx.dtype).detach().requires_grad_()
                change = ctx.halves[number](source)
            slopes = torch.autograd.grad(change, [source, *parameters], to_added.to(change.dtype), allow_unused=True)
            added = added - change.detach()
            to_read = to_read if slopes[0] is None else to_read + slopes[0]
            given = iter(slopes[1:])
            found.append([next(given) if one.requires_grad else None for one in ctx.parameters[number]])
            read, added, to_read, to_added = added, read, to_added, to_read
        flat = [slope for some in reversed(found) for slope in some]
        return None, None, None, None, to_read, to_added, *flat


def _forward(
    halves: Sequence[Half],
    seeds: Sequence[int] | None,
    first: torch.Tensor,
    second: torch.Tensor,
    dtype: torch.dtype,
) -> tuple[torch.Tensor, torch.Tensor]:
    """first += half(second), second += half(first), and so on; the halves read them in `dtype`."""
    for number, half in enumerate(halves):
        with _seeded(seeds, number):
            if number % 2 == 0:
                first = first + half(second.to(dtype))
            else:
                second = second + half(first.to(dtype))
    return first, second


def _cut_off(half: Half) -> Half:
    """The same, whose graph is dropped at once."""
    return lambda read: half(read.detach().requires_grad_()).detach()


@contextmanager
def _seeded(seeds: Sequence[int] | None, number: int) -> Iterator[None]:
    """Random numbers of this half's own; those of everyone else are left as they were."""
    if seeds is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(seeds[number])
        yield
