"""The processes of a layout as a grid, and sums along its axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from malmoi.parallel.layout import AXES, Layout

REPLICAS = ("data", "shard")
"""Axes along which processes have rows of their own."""

SEEN = (*REPLICAS, "context")
"""Axes along which processes see different tokens: gradients and counts are summed over them."""

SHARDS = ("shard", "context")
"""Axes along which parameters are divided where they are sharded: what a row is divided along shares them too."""


class Mesh:
    """A grid of processes with the five axes of a layout.

    Attributes:
        parameters: the same processes by how they share parameters: along pipeline, data, shards and tensor.
    """

    def __init__(self, layout: Layout, device: str) -> None:
        self.layout = layout
        sizes = [self.size(axis) for axis in AXES]
        self._whole = init_device_mesh(device, tuple(sizes), mesh_dim_names=AXES)
        self.parameters = init_device_mesh(
            device,
            (layout.pipeline, layout.data, self.size(*SHARDS), layout.tensor),
            mesh_dim_names=("pipeline", "data", "shards", "tensor"),
        )
        self._flat: dict[tuple[str, ...], DeviceMesh] = {}

    def of_shards(self) -> DeviceMesh:
        """The processes that share parameters, and where there are replicas of those, these as a first dimension."""
        return self.parameters["data", "shards"] if self.layout.data > 1 else self.parameters["shards"]

    @staticmethod
    def axes_of(dimension: str) -> tuple[str, ...]:
        """The axes of the layout that a dimension of `parameters` stands for."""
        return SHARDS if dimension == "shards" else (dimension,)

    def group(self, *axes: str) -> dist.ProcessGroup:
        """The processes that differ from this one along these axes only."""
        if axes not in self._flat:
            part = self._whole[axes]
            self._flat[axes] = part if len(axes) == 1 else part._flatten("_".join(axes))
        return self._flat[axes].get_group()

    def index(self, *axes: str) -> int:
        """The place of this process along the axes, from 0."""
        place = 0
        for axis in axes:
            place = place * self.size(axis) + self._whole.get_local_rank(axis)
        return place

    def size(self, *axes: str) -> int:
        """The number of processes along the axes."""
        product = 1
        for axis in axes:
            product *= getattr(self.layout, axis)
        return product

    def sum(self, values: torch.Tensor, *axes: str) -> torch.Tensor:
        """`values`, added up in place over the processes along the axes."""
        if self.size(*axes) > 1:
            dist.all_reduce(values, group=self.group(*axes))
        return values


def split_sizes(length: int, parts: int) -> Sequence[int]:
    """The sizes of the parts that `torch.chunk` and sharded tensors have: all but the last ones are equal."""
    size = -(-length // parts)
    return [max(0, min(size, length - part * size)) for part in range(parts)]
