"""Rounding that makes up for its own errors (Frantar and others 2022, GPTQ, arXiv:2210.17323)."""

from __future__ import annotations

import torch

from malmoi.compress.calibration import Statistic
from malmoi.compress.rounding import int4_scale
from malmoi.layers.matrices.int4 import Int4Matrix, Int4Settings, nearest_codes

DAMPING = 0.01
"""Share of the mean square of the inputs that is added to each, so that the products can be inverted."""

_TOGETHER = 128
"""Inputs whose errors are passed on to the later ones in one product."""


def gptq_matrix(weight: torch.Tensor, settings: Int4Settings, statistic: Statistic) -> Int4Matrix:
    """(outputs, inputs) floating to codes, one input after the other, those that carry most first.

    What an input loses in rounding is made up for by the inputs that are not rounded yet, as far as they flow together
    with it; `statistic` says how far. Scales are those that rounding to the nearest would have.
    """
    matrix = Int4Matrix(weight.shape[0], weight.shape[1], settings)
    scale, least = int4_scale(weight.float().view(len(weight), -1, settings.group))
    matrix.scale.data, matrix.least.data = scale, least
    silent = statistic.products.diagonal() == 0
    order = statistic.products.diagonal().argsort(descending=True, stable=True)
    shares = _shares(statistic.products[order][:, order])
    left = weight.float().t()[order]  # an input's numbers lie side by side
    left[silent[order]] = 0
    codes = torch.empty_like(left)
    for start in range(0, len(left), _TOGETHER):
        end = min(start + _TOGETHER, len(left))
        errors = torch.empty_like(left[start:end])
        for place in range(start, end):
            group = int(order[place]) // settings.group
            codes[place] = nearest_codes(left[place], scale[:, group], least[:, group])
            rounded = codes[place] * scale[:, group].float() + least[:, group].float()
            error = (left[place] - rounded) / shares[place, place]
            left[place:end] -= shares[place, place:end, None] * error
            errors[place - start] = error
        left[end:] -= shares[start:end, end:].t() @ errors
    matrix.set_codes(torch.empty_like(codes).index_copy_(0, order, codes).t())
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
