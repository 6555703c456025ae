"""The parameters that a process trains, each whole or in part, and their gradients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from malmoi.parallel.data import local, local_gradient
from malmoi.parallel.layout import AXES
from malmoi.parallel.matrices import DividedMatrices, as_divided
from malmoi.parallel.mesh import Mesh


class DividedParameters:
    """What this process holds of the trained parameters of a model to which a layout was applied.

    Args:
        partial: names of those whose gradients are to be added up over the tensor axis, see `divide_tensors`.
        repeated: names of those that another process of the pipeline has too, and counts.

    Attributes:
        named: name to parameter, which knows how it is divided.
        held: name to what an optimizer of this process updates; it shares the parameter's memory.
    """

    def __init__(self, model: nn.Module, mesh: Mesh, partial: Sequence[str], repeated: Collection[str]) -> None:
        self.named = {name: one for name, one in model.named_parameters() if one.requires_grad}
        self.held: dict[str, torch.Tensor] = {
            name: nn.Parameter(local(one.detach())) if isinstance(one, DTensor) else one
            for name, one in self.named.items()
        }
        self._mesh, self._repeated = mesh, repeated
        self._partial = [name for name in partial if name in self.named]

    def settle_gradients(self) -> None:
        """After a backward pass: complete the gradients, and put them where the optimizers look."""
        partial = [local_gradient(self.named[name]) for name in self._partial]
        if partial:
            flat = self._mesh.sum(torch.cat([one.reshape(-1) for one in partial]), "tensor")
            for one, summed in zip(partial, torch.split(flat, [one.numel() for one in partial]), strict=True):
                one.view(-1).copy_(summed)
        for name, parameter in self.named.items():
            if self.held[name] is not parameter:
                self.held[name].grad = None if parameter.grad is None else local(parameter.grad)

    def forget_gradients(self) -> None:
        """Begin anew."""
        for parameter in (*self.named.values(), *self.held.values()):
            parameter.grad = None

    def gradient_norm(self, device: torch.device) -> float:
        """The norm of all gradients of all processes, each number counted once wherever it is kept."""
        squares: dict[tuple[str, ...], torch.Tensor] = defaultdict(lambda: torch.zeros((), device=device))
        for name, parameter in self.named.items():
            gradient = self.held[name].grad
            if gradient is not None and name not in self._repeated:
                squares[self._axes(parameter)] += gradient.float().square().sum()
        for axes in sorted({self._axes(parameter) for parameter in self.named.values()}):
            self._mesh.sum(squares[axes], *axes)
        every = torch.stack(list(squares.values())).sum()
        return float(self._mesh.sum(every, "pipeline").sqrt())

    def placed(self, name: str, held: torch.Tensor) -> torch.Tensor:
        """What this process holds of something that is divided as parameter `name` is, as a part of the whole."""
        parameter: torch.Tensor = self.named[name]
        if isinstance(parameter, DTensor) and held.shape == self.held[name].shape:
            return as_divided(held, parameter)
        return held

    def matrices(self) -> DividedMatrices:
        """How an optimizer has the whole matrices of this process's layers."""
        group = self._mesh.group(*(axis for axis in AXES if axis != "pipeline"))
        return DividedMatrices(self.named, self.held, group)

    def _axes(self, parameter: torch.Tensor) -> tuple[str, ...]:
        """Along which axes a parameter is divided."""
        if not isinstance(parameter, DTensor):
            return ()
        names = parameter.device_mesh.mesh_dim_names or ()
        divided = [name for name, place in zip(names, parameter.placements, strict=True) if not place.is_replicate()]
        return tuple(axis for name in divided for axis in self._mesh.axes_of(name))
