"""What a part of a layer is worth: the mean square of what it adds to the layer's outputs, or of its numbers."""

from __future__ import annotations

from typing import Literal

import torch

from malmoi.compress.calibration import Statistic

Importance = Literal["inputs", "magnitude"]
"""By what flows into a layer, which reads text, or by the numbers of the layer alone."""


def of_numbers(weight: torch.Tensor, statistic: Statistic | None) -> torch.Tensor:
    """(outputs, inputs) of each number: its size, times that of its input where that is known.

    Sun and others 2023, Wanda, arXiv:2306.11695.
    """
    return weight.abs() if statistic is None else weight.abs() * statistic.norms.to(weight)


def of_inputs(weight: torch.Tensor, statistic: Statistic | None, size: int = 1) -> torch.Tensor:
    """(inputs / size,) of each run of `size` inputs: the mean square of what it adds to the outputs.

    Without a statistic, as if inputs were of size one and independent.
    """
    runs = weight.float().view(len(weight), -1, size)
    if statistic is None:
        return runs.square().sum((0, 2))
    count = runs.shape[1]
    products = statistic.products.view(count, size, count, size)
    own = products[torch.arange(count), :, torch.arange(count)]
    return torch.einsum("org,rgh,orh->r", runs, own, runs)


def strongest(worth: torch.Tensor, count: int) -> torch.Tensor:
    """(count,) int64, sorted: the places of the greatest, the earlier one of equals."""
    return worth.argsort(descending=True, stable=True)[:count].sort().values
