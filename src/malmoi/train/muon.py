"""Muon: momentum whose matrices are made orthogonal before they are applied.

Jordan and others 2024, https://kellerjordan.github.io/posts/muon/
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch

from malmoi.train.compact_states import rounded

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that drives every singular value towards 1; Jordan's choice, fast at the price of exactness."""


def orthogonalize(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Matrices with the singular vectors of `matrices` and singular values near 1 (between 0.7 and 1.2).

    Newton-Schulz iteration on a stack, so that matrices of one shape share their products.

    Args:
        matrices: (n, rows, columns) floating point.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).contiguous()
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, with decoupled weight decay; for matrices inside blocks.

    An update is scaled by sqrt(max(1, rows / columns)), so that one learning rate fits matrices of every shape.

    Args:
        compact: whether the momentum is kept in bfloat16.
    """

    def __init__(
        self,
        parameters: Iterable[torch.Tensor] | Iterable[dict[str, Any]],
        learning_rate: float,
        momentum: float = 0.95,
        weight_decay: float = 0,
        compact: bool = False,
    ) -> None:
        self._compact = compact
        super().__init__(parameters, {"lr": learning_rate, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Apply one update from the gradients; `closure` is not used."""
        for group in self.param_groups:
            by_shape: defaultdict[torch.Size, list[torch.Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                self._update(parameters, group, max(1.0, shape[0] / shape[1]) ** 0.5)

    def _update(self, parameters: list[torch.Tensor], group: dict[str, Any], scale: float) -> None:
        directions = []
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            gradient = parameter.grad
            assert gradient is not None
            momentum = state["momentum"].float().lerp_(gradient, 1 - group["momentum"])
            if self._compact:
                state["momentum"] = rounded(momentum)
            directions.append(gradient.lerp(momentum, group["momentum"]))
        for parameter, update in zip(parameters, orthogonalize(torch.stack(directions)), strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update, alpha=-group["lr"] * scale)
