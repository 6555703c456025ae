"""Rounding that makes up for its own errors (Frantar and others 2022, GPTQ, arXiv:2210.17323)."""

from __future__ import annotations

import torch

from malmoi.compress.calibration import Statistic
from malmoi.compress.rounding import int4_codes, int4_scale
from malmoi.layers.matrices.int4 import Int4Matrix, Int4Settings

DAMPING = 0.01
"""Share of the mean square of the inputs that is added to each, so that the products can be inverted."""


def gptq_matrix(weight: torch.Tensor, settings: Int4Settings, statistic: Statistic) -> Int4Matrix:
    """(outputs, inputs) floating to codes, one input after the other.

    What an input loses in rounding is made up for by the inputs that are not rounded yet, as far as they flow together
    with it; `statistic` says how far. Scales are those of the numbers as they stand when their group begins.
    """
    matrix = Int4Matrix(weight.shape[0], weight.shape[1], settings)
    left = weight.float().t().contiguous()  # an input's numbers lie side by side
    left[statistic.products.diagonal() == 0] = 0
    codes, shares = torch.empty_like(left), _shares(statistic.products)
    for group, start in enumerate(range(0, len(left), settings.group)):
        end = start + settings.group
        scale, least = int4_scale(left[start:end].t())
        matrix.scale.data[:, group], matrix.least.data[:, group] = scale, least
        errors = torch.empty_like(left[start:end])
        for place in range(start, end):
            codes[place] = int4_codes(left[place], scale, least)
            rounded = codes[place] * scale.float() + least.float()
            error = (left[place] - rounded) / shares[place, place]
            left[place:end] -= shares[place, place:end, None] * error
            errors[place - start] = error
        left[end:] -= shares[start:end, end:].t() @ errors
    matrix.set_codes(codes.t())
    return matrix


def _shares(products: torch.Tensor) -> torch.Tensor:
    """(inputs, inputs) upper triangle: how much of the error of each input each later one takes over."""
    products = products.double().clone()
    silent = products.diagonal() == 0
    products.diagonal()[silent] = 1
    products.diagonal().add_(DAMPING * products.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(products))
    upper: torch.Tensor = torch.linalg.cholesky(inverse, upper=True)
    return upper.float()
