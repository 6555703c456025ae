"""Linear layers some of whose weights are zero, and stay so when the rest learns."""

from __future__ import annotations

import torch
from torch import nn


class SparseLinear(nn.Linear):
    """Computes as any linear layer does, and is stored as one: zeros save neither time nor memory here.

    The optimizers put back to zero what is zero when they are made, see `malmoi.train.optimizers`.
    """


def make_sparse(model: nn.Module, name: str) -> None:
    """Let the zeros of linear layer `name` stay zero from now on, in place."""
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    sparse = SparseLinear(layer.in_features, layer.out_features, bias=False, device="meta")
    sparse.weight = layer.weight
    sparse.register_parameter("bias", layer.bias)
    model.set_submodule(name, sparse)


def sparse_layers(model: nn.Module) -> dict[str, SparseLinear]:
    """Name to layer, of those whose zeros stay."""
    return {name: module for name, module in model.named_modules() if isinstance(module, SparseLinear)}


def zeros(model: nn.Module) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The weights of these layers that learn, and for each a mask of its shape and type, 0 where it is zero."""
    weights = [layer.weight.detach() for layer in sparse_layers(model).values() if layer.weight.requires_grad]
    return weights, [(weight != 0).to(weight.dtype) for weight in weights]
