"""Optimizer states in bfloat16 or in eight bits: half and a quarter of the memory, without a drift.

A second moment grows by less than such a number can tell; rounding to the nearest would leave it where it is for ever.
Rounded up or down by chance, in proportion, it is right on average (Gupta and others 2015, arXiv:1502.02551). So floats
of eight bits will do, which have one scale for all; Dettmers and others 2022 (arXiv:2110.02861), who round to the
nearest, need a scale for each block of numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import torch

StatePrecision = Literal["float32", "bfloat16", "8-bit"]

STATE_BYTES: dict[StatePrecision, int] = {"float32": 4, "bfloat16": 2, "8-bit": 1}
"""Of a number that an optimizer remembers."""

MANTISSA = 2
"""Bits behind the point of an eight-bit float: it differs from the next by a fifth."""

LOWEST = -27
"""Exponent of the smallest moment of eight bits, 7e-9, below AdamW's epsilon; what is smaller becomes 0. With five bits
of exponent the largest is 28."""

_MANTISSA, _BIAS = 23, 127
"""Of float32."""


class Form(NamedTuple):
    """How moments are kept.

    Attributes:
        keep: float32 to what is kept of it.
        read: the same back.
    """

    keep: Callable[[torch.Tensor], torch.Tensor]
    read: Callable[[torch.Tensor], torch.Tensor]


def rounded(value: torch.Tensor) -> torch.Tensor:
    """A float32 tensor in bfloat16, each number rounded up or down by chance so that the mean is kept."""
    return (_by_chance(value, 7) << 16).view(torch.float32).to(torch.bfloat16)


def signed_codes(value: torch.Tensor) -> torch.Tensor:
    """Float32 to int8: a sign, five bits of exponent and two of mantissa, rounded as by `rounded`."""
    return (_codes(value.abs(), LOWEST, 127) * value.sign()).to(torch.int8)


def from_signed_codes(codes: torch.Tensor) -> torch.Tensor:
    """What `signed_codes` made, as float32."""
    return _numbers(codes.abs(), LOWEST) * codes.sign()


def square_codes(value: torch.Tensor) -> torch.Tensor:
    """Float32 squares of what `signed_codes` can tell to uint8: six bits of exponent and two of mantissa."""
    return _codes(value, 2 * LOWEST, 255).to(torch.uint8)


def from_square_codes(codes: torch.Tensor) -> torch.Tensor:
    """What `square_codes` made, as float32."""
    return _numbers(codes, 2 * LOWEST)


MEANS: dict[StatePrecision, Form] = {
    "float32": Form(torch.Tensor.float, torch.Tensor.float),
    "bfloat16": Form(rounded, torch.Tensor.float),
    "8-bit": Form(signed_codes, from_signed_codes),
}
"""Forms of mean gradients."""

SQUARES: dict[StatePrecision, Form] = {**MEANS, "8-bit": Form(square_codes, from_square_codes)}
"""Forms of mean squares."""


class CompactAdamW(torch.optim.Optimizer):
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) whose moments are kept in fewer bits.

    One parameter is updated after the other, so that only one has its moments in float32. What is rounded how follows
    from PyTorch's random numbers, which the trainer seeds at every step.
    """

    def __init__(
        self,
        parameters: Iterable[dict[str, Any]],
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        state_precision: StatePrecision = "bfloat16",
    ) -> None:
        self._means, self._squares = MEANS[state_precision], SQUARES[state_precision]
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
            zero = torch.zeros_like(parameter)
            state.update(step=torch.zeros(()), mean=self._means.keep(zero), square=self._squares.keep(zero))
        state["step"] += 1
        steps = float(state["step"])
        mean = self._means.read(state["mean"]).lerp_(gradient, 1 - first)
        square = self._squares.read(state["square"]).mul_(second).addcmul_(gradient, gradient, value=1 - second)
        state["mean"], state["square"] = self._means.keep(mean), self._squares.keep(square)
        spread = square.div_(1 - second**steps).sqrt_().add_(group["eps"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.addcdiv_(mean, spread, value=-group["lr"] / (1 - first**steps))


def _by_chance(value: torch.Tensor, mantissa: int) -> torch.Tensor:
    """int32, the upper bits of float32 down to so many of the mantissa; chance has rounded the lower ones away."""
    lower = _MANTISSA - mantissa
    return (value.view(torch.int32) + torch.randint_like(value, 1 << lower, dtype=torch.int32)) >> lower


def _codes(sizes: torch.Tensor, lowest: int, most: int) -> torch.Tensor:
    return (_by_chance(sizes, MANTISSA) - _first_code(lowest)).clamp_(0, most)


def _numbers(codes: torch.Tensor, lowest: int) -> torch.Tensor:
    bits = (codes.to(torch.int32) + _first_code(lowest)) << (_MANTISSA - MANTISSA)
    return bits.view(torch.float32).masked_fill_(codes == 0, 0)


def _first_code(lowest: int) -> int:
    """Upper bits of a float32 of this exponent."""
    return (lowest + _BIAS) << MANTISSA
