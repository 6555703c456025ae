"""The model that a caller hands in, while processes train parts of a copy of it."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor


class LentModel:
    """A model without its memory, until it gets the trained weights."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
        for parameter in model.parameters():
            parameter.data = parameter.new_empty(0)

    def give_back(self, trained: nn.Module, device: torch.device, pipeline: dist.ProcessGroup | None) -> None:
        """Fill it with the whole weights, on every process.

        Args:
            trained: the copy, or what this process has of it.
            device: for weights that had none.
            pipeline: the processes of which each has some of the layers; None where each has all.
        """
        if next(self._model.parameters()).is_meta:
            self._model.to_empty(device=device)
        own = {name: parameter.detach() for name, parameter in trained.named_parameters()}
        owners = _owners(list(own), pipeline)
        for name, parameter in self._model.named_parameters():
            whole = torch.empty(self._shapes[name], dtype=parameter.dtype, device=parameter.device)
            if name in own:
                held = own[name]
                whole.copy_(held.full_tensor() if isinstance(held, DTensor) else held)
            if pipeline is not None:
                dist.broadcast(whole, group=pipeline, group_src=owners[name])
            parameter.data = whole


def _owners(own: list[str], pipeline: dist.ProcessGroup | None) -> dict[str, int]:
    """Name to the first process of the pipeline that has this parameter."""
    if pipeline is None:
        return {}
    names: list[Any] = [None] * dist.get_world_size(pipeline)
    dist.all_gather_object(names, own, group=pipeline)
    return {name: index for index in reversed(range(len(names))) for name in names[index]}
