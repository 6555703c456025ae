"""The feed-forward half of a block."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from malmoi.core.accelerator import product_dtype


def _squared_relu(hidden: torch.Tensor) -> torch.Tensor:
    """So and others 2021, Primer, arXiv:2109.08668."""
    return F.relu(hidden).square()


ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "swiglu": F.silu,
    "geglu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "relu2": _squared_relu,
}
GATED = ("swiglu", "geglu_tanh")
"""The activations that bend a second widening, which then gates the first (Shazeer 2020, arXiv:2002.05202)."""


class FeedForward(nn.Module):
    """Widen, bend, narrow; with an activation of `GATED` a second widening is bent in the first one's place."""

    gate: nn.Linear | None

    def __init__(self, width: int, inner: int, activation: str, bias: bool) -> None:
        super().__init__()
        self.gate = nn.Linear(width, inner, bias=bias) if activation in GATED else None
        self.up = nn.Linear(width, inner, bias=bias)
        self.down = nn.Linear(inner, width, bias=bias)
        self.bend = ACTIVATIONS[activation]

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(rows, length, width) to the same."""
        hidden = hidden.to(product_dtype(hidden))  # once, not for each of the products
        widened = self.up(hidden)
        bent = self.bend(widened) if self.gate is None else self.bend(self.gate(hidden)) * widened
        result: torch.Tensor = self.down(bent)
        return result
