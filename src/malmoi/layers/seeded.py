"""Random numbers that are a pure function of what they are for."""

from __future__ import annotations

import hashlib
from typing import Protocol, runtime_checkable

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

    They are drawn on the CPU in float32, so every device and dtype starts from the same.
    """
    with torch.no_grad():
        for start in range(0, len(parameter), ROW_BLOCK):
            rows = parameter[start : start + ROW_BLOCK]
            digest = hashlib.sha256(f"{seed}/{name}/{start // ROW_BLOCK}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
            rows.copy_(torch.empty(rows.shape, dtype=torch.float32).normal_(0, deviation, generator=generator))
