"""Modules of shapes alone: their weights take no memory, and come later."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@contextlib.contextmanager
def shapes_alone() -> Iterator[None]:
    """Parameters of modules that are made inside are on the meta device.

    Nor are they drawn there: PyTorch would load half of its compiler to find that a normal distribution of no numbers
    has none, 70 MB and a second in every process that opens a model.
    """
    with _NothingDrawn(), torch.device("meta"):
        yield


def with_memory(model: ModuleT) -> ModuleT:
    """A model of shapes alone with memory on the CPU, in place; its weights are yet to be filled.

    As `to_empty`, whose `empty_like` of a tensor without numbers would load the compiler as well.
    """
    filled: ModuleT = model._apply(lambda shape: torch.empty(shape.shape, dtype=shape.dtype))  # type: ignore[no-untyped-call]
    return filled


class _NothingDrawn(TorchFunctionMode):
    """Inside, `torch.nn.init` leaves tensors as they are."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        named = named or {}
        if getattr(function, "__module__", "") == "torch.nn.init":
            return named.get("tensor", *arguments[:1])
        return function(*arguments, **named)
