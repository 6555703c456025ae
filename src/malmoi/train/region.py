"""The forward pass of a block, plain or compiled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn


class Region:
    """The forward pass of a block while it is trained: plain or compiled. Elsewhere it is plain.

    Attributes:
        forward: the plain one.
        compiled: the other one, once it is used.
        holds: whether to hold what the block gets, if it turns hidden states into hidden states that learn.
        call: what it got last.
        shapes: of all it got.
    """

    def __init__(self, block: nn.Module) -> None:
        self.block, self.forward = block, block.forward
        self.compiled: Callable[..., Any] | None = None
        self.call: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self.shapes: set[torch.Size] = set()
        self.holds = False

    def enter(self) -> None:
        """Stand in for the block's own forward pass."""
        self.block.forward = self

    def leave(self) -> None:
        """Give the block its own back."""
        self.block.__dict__.pop("forward", None)  # `recomputing` has put its own in front and taken both away

    def parts(self) -> list[nn.Module]:
        """The modules inside the block."""
        return [module for module in self.block.modules() if module is not self.block]

    def make(self) -> Callable[..., Any]:
        """The compiled forward pass; nothing is compiled before it is called."""
        compiled: Callable[..., Any] = torch.compile(self.forward)
        return compiled

    def run(self, forward: Callable[..., Any], inside: Callable[[], AbstractContextManager[Any]]) -> None:
        """Forward and backward as in the last call; no gradient is kept."""
        assert self.call is not None
        (hidden, *others), named = self.call
        hidden = hidden.detach().requires_grad_(hidden.requires_grad)
        with torch.enable_grad(), inside():
            made = forward(hidden, *others, **named)
        learning = [one for one in (hidden, *self.block.parameters()) if one.requires_grad]
        torch.autograd.grad(made, learning, torch.ones_like(made), allow_unused=True)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if not (self.block.training and torch.is_grad_enabled()):
            return self.forward(*arguments, **named)
        if self.compiled is not None:
            return self.compiled(*arguments, **named)
        result = self.forward(*arguments, **named)
        if all(_are_hidden_states(one) for one in (*arguments[:1], result)) and result.requires_grad:
            self.shapes.add(arguments[0].shape)
            if self.holds:
                self.call = (arguments, named)
        return result


def _are_hidden_states(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() == 3 and value.is_floating_point()
