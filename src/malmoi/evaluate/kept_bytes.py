"""How much memory a forward pass keeps for the gradient: counted, the same on every machine."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable

import torch


class _Kept:
    """A tensor that the backward pass will want."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor.detach()  # an output itself would hold the graph that holds it


def kept_bytes(forward: Callable[[], torch.Tensor], parameters: Iterable[torch.Tensor] = ()) -> int:
    """Bytes that are still held when `forward` is done, each piece of memory once, parameters left aside."""
    alive: weakref.WeakSet[_Kept] = weakref.WeakSet()

    def pack(tensor: torch.Tensor) -> _Kept:
        kept = _Kept(tensor)
        alive.add(kept)
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        result = forward()
    left_aside = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    storages = {one.tensor.untyped_storage().data_ptr(): one.tensor.untyped_storage().nbytes() for one in alive}
    del result  # held until here, and with it the graph
    return sum(size for place, size in storages.items() if place not in left_aside)
