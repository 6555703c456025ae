"""Random numbers that are a pure function of what they are for."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol, runtime_checkable

import torch

ROW_BLOCK = 256
"""Rows drawn from one generator; any block of rows can be drawn alone, so every parallel layout starts the same."""


@runtime_checkable
class KnowsFirstWeights(Protocol):
    """A module that fills its own parameters, because no general rule fits them."""

    def first_weights(self, seed: int, name: str) -> None:
        """Fill them in place, without gradients: a pure function of (seed, name of the module)."""
        ...


def fill_normal(parameter: torch.Tensor, deviation: float, seed: int, name: str) -> None:
    """Fill a (rows, ...) tensor with normal numbers, in place: a pure function of (seed, name, row block).

    They are drawn on the CPU in float32, so every device and dtype starts from the same. Of a tensor that is divided
    among processes (`DTensor`) each fills its part.
    """
    held, (rows, *others) = _own_part(parameter)
    for start in range(rows.start // ROW_BLOCK * ROW_BLOCK, rows.stop, ROW_BLOCK):
        shape = (min(ROW_BLOCK, len(parameter) - start), *parameter.shape[1:])
        digest = hashlib.sha256(f"{seed}/{name}/{start // ROW_BLOCK}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
        block = torch.empty(shape, dtype=torch.float32).normal_(0, deviation, generator=generator)
        first, end = max(start, rows.start), min(start + len(block), rows.stop)
        with torch.no_grad():
            held[first - rows.start : end - rows.start] = block[(slice(first - start, end - start), *others)]


def fill_with(parameter: torch.Tensor, values: torch.Tensor) -> None:
    """Fill a tensor with values of its whole shape, in place; each of the processes that share it fills its part."""
    held, place = _own_part(parameter)
    with torch.no_grad():
        held.copy_(values[tuple(place)])


def _own_part(tensor: Any) -> tuple[torch.Tensor, list[slice]]:
    """What this process holds of a tensor, and where in the whole that lies."""
    if not hasattr(tensor, "__create_chunk_list__"):
        return tensor, [slice(0, size) for size in tensor.shape]
    (chunk,) = tensor.__create_chunk_list__()
    return tensor.to_local(), [
        slice(start, start + size) for start, size in zip(chunk.offsets, chunk.sizes, strict=True)
    ]
