"""Muon: momentum whose matrices are made orthogonal before they are applied.

Jordan and others 2024, https://kellerjordan.github.io/posts/muon/
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, Protocol

import torch

from malmoi.core.accelerator import product_dtype
from malmoi.train.compact_states import MEANS, StatePrecision

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that drives every singular value towards 1; Jordan's choice, fast at the price of exactness."""


FLAT = 1.5
"""How many times as long as wide a matrix has to be for its iterations to take fewer operations on its Gram matrix."""


def orthogonalize(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Matrices with the singular vectors of `matrices` and singular values near 1 (between 0.7 and 1.2).

    Newton-Schulz iteration on a stack, so that matrices of one shape share their products.

    Args:
        matrices: (n, rows, columns) floating point; products are in the dtype of autocast, where there is one.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(product_dtype(x)).contiguous()
    if x.shape[2] > FLAT * x.shape[1] and x.dtype == torch.float32:
        x = _iterated(x @ x.mT, steps) @ x
    else:
        for _ in range(steps):
            gram = x @ x.mT
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


def _iterated(gram: torch.Tensor, steps: int) -> torch.Tensor:
    """What all iterations together multiply a matrix with: each is a polynomial of its Gram matrix, so they commute.

    Products have to be exact to float32: what is rounded off the Gram matrix grows twelvefold in an iteration.

    Args:
        gram: (n, rows, rows) float32, the matrix times its transpose.
    """
    a, b, c = COEFFICIENTS
    factors: list[torch.Tensor] = []
    for _ in range(steps):
        if factors:
            gram = factors[-1] @ gram @ factors[-1]
        factors.append(torch.baddbmm(gram, gram, gram, beta=b, alpha=c))
        factors[-1].diagonal(dim1=1, dim2=2).add_(a)
    return reduce(torch.matmul, factors)


class Matrices(Protocol):
    """How an optimizer has whole matrices where each process holds a part of them."""

    def shape(self, held: torch.Tensor) -> torch.Size:
        """The shape of the whole matrix."""
        ...

    def whole(self, held: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        """The matrix of which every process has a `part`, divided as the parameter `held` is."""
        ...

    def part(self, held: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
        """This process's part of a matrix."""
        ...

    def each(self, stack: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """What `function` makes of a stack of matrices, the work dealt out among the processes."""
        ...


class WholeMatrices:
    """`Matrices` of a process that holds all of them."""

    def shape(self, held: torch.Tensor) -> torch.Size:
        """See `Matrices`."""
        return held.shape

    def whole(self, held: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        """See `Matrices`."""
        return part

    def part(self, held: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
        """See `Matrices`."""
        return whole

    def each(self, stack: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """See `Matrices`."""
        return function(stack)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, with decoupled weight decay; for matrices inside blocks.

    An update is scaled by sqrt(max(1, rows / columns)), so that one learning rate fits matrices of every shape.

    Args:
        state_precision: in which the momentum is kept.
        matrices: how whole matrices are had.
    """

    def __init__(
        self,
        parameters: Iterable[torch.Tensor] | Iterable[dict[str, Any]],
        learning_rate: float,
        momentum: float = 0.95,
        weight_decay: float = 0,
        state_precision: StatePrecision = "float32",
        matrices: Matrices | None = None,
    ) -> None:
        self._form, self._matrices = MEANS[state_precision], matrices or WholeMatrices()
        super().__init__(parameters, {"lr": learning_rate, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Apply one update from the gradients; `closure` is not used."""
        for group in self.param_groups:
            by_shape: defaultdict[torch.Size, list[torch.Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[self._matrices.shape(parameter)].append(parameter)
            for shape, parameters in by_shape.items():
                self._update(parameters, group, max(1.0, shape[0] / shape[1]) ** 0.5)

    def _update(self, parameters: list[torch.Tensor], group: dict[str, Any], scale: float) -> None:
        directions = []
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["momentum"] = self._form.keep(torch.zeros_like(parameter))
            gradient = parameter.grad
            assert gradient is not None
            momentum = self._form.read(state["momentum"]).lerp_(gradient, 1 - group["momentum"])
            state["momentum"] = self._form.keep(momentum)
            directions.append(self._matrices.whole(parameter, gradient.lerp(momentum, group["momentum"])))
        updates = self._matrices.each(torch.stack(directions), orthogonalize)
        for parameter, update in zip(parameters, updates, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(self._matrices.part(parameter, update), alpha=-group["lr"] * scale)
