"""Whole matrices for an optimizer that needs them, where each process holds a part."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from malmoi.parallel.collectives import all_gather

logging.getLogger("torch.distributed.tensor._redistribute").setLevel(logging.ERROR)  # it advises against two gathers


class DividedMatrices:
    """`malmoi.train.muon.Matrices`: parts are gathered, and the work on whole matrices is dealt out.

    Args:
        divided: name to parameter, which knows how it is divided.
        held: name to what this process holds of it.
        group: the processes that have the same matrices, or parts of them.
    """

    def __init__(
        self, divided: Mapping[str, torch.Tensor], held: Mapping[str, torch.Tensor], group: dist.ProcessGroup
    ) -> None:
        self._parameters = {held[name]: parameter for name, parameter in divided.items()}
        self._group = group

    def shape(self, held: torch.Tensor) -> torch.Size:
        """The shape of the whole matrix."""
        return self._parameters[held].shape

    def whole(self, held: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        """The matrix of which every process has a `part`, divided as the parameter `held` is."""
        parameter = self._parameters[held]
        return as_divided(part, parameter).full_tensor() if isinstance(parameter, DTensor) else part

    def part(self, held: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
        """This process's part of a matrix."""
        parameter = self._parameters[held]
        return whole[own_slices(parameter)] if isinstance(parameter, DTensor) else whole

    def each(self, stack: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """What `function` makes of a stack of matrices, (n, rows, columns), each computed by one process."""
        count, own = dist.get_world_size(self._group), dist.get_rank(self._group)
        size = -(-len(stack) // count)
        mine = stack.new_zeros(size, *stack.shape[1:])
        given = stack[own * size : (own + 1) * size]
        if len(given):
            mine[: len(given)] = function(given)
        every = stack.new_empty(size * count, *stack.shape[1:])
        all_gather(every, mine, group=self._group)
        return every[: len(stack)]


def as_divided(held: torch.Tensor, like: DTensor) -> DTensor:
    """What a process holds as its part of a tensor divided as another one is."""
    return DTensor.from_local(
        held, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def own_slices(parameter: DTensor) -> tuple[slice, ...]:
    """Where in the whole tensor this process's part lies."""
    (chunk,) = parameter.__create_chunk_list__()  # type: ignore[no-untyped-call]
    return tuple(slice(start, start + size) for start, size in zip(chunk.offsets, chunk.sizes, strict=True))
