"""Optimizer states in bfloat16: half the memory, without a drift.

A second moment grows by less than bfloat16 can tell; rounding to the nearest would leave it where it is for ever.
Rounded up or down by chance, in proportion, it is right on average (Gupta and others 2015, arXiv:1502.02551).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

LOWER_BITS = 16
"""Bits of a float32 that bfloat16 does not have."""


def rounded(value: torch.Tensor) -> torch.Tensor:
    """A float32 tensor in bfloat16, each number rounded up or down by chance so that the mean is kept."""
    noise = torch.randint_like(value, 1 << LOWER_BITS, dtype=torch.int32)
    kept = (value.view(torch.int32) + noise) & (-1 << LOWER_BITS)
    return kept.view(torch.float32).to(torch.bfloat16)


class CompactAdamW(torch.optim.Optimizer):
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) whose moments are kept in bfloat16.

    One parameter is updated after the other, so that only one has its moments in float32. What is rounded how follows
    from PyTorch's random numbers, which the trainer seeds at every step.
    """

    def __init__(
        self, parameters: Iterable[dict[str, Any]], betas: tuple[float, float] = (0.9, 0.95), eps: float = 1e-8
    ) -> None:
        super().__init__(parameters, {"lr": 1e-3, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Apply one update from the gradients; `closure` is not used."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state, (first, second) = self.state[parameter], group["betas"]
        if not state:
            zero = torch.zeros_like(parameter, dtype=torch.bfloat16)
            state.update(step=torch.zeros(()), mean=zero, square=zero.clone())
        state["step"] += 1
        steps = float(state["step"])
        mean = state["mean"].float().lerp_(gradient, 1 - first)
        square = state["square"].float().mul_(second).addcmul_(gradient, gradient, value=1 - second)
        state["mean"], state["square"] = rounded(mean), rounded(square)
        spread = square.div_(1 - second**steps).sqrt_().add_(group["eps"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.addcdiv_(mean, spread, value=-group["lr"] / (1 - first**steps))
