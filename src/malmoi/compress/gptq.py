"""Rounding that makes up for its own errors (Frantar and others 2022, GPTQ, arXiv:2210.17323)."""

from __future__ import annotations

import torch

from malmoi.compress.calibration import Statistic
from malmoi.compress.flows import Flow
from malmoi.compress.rounding import int4_scale
from malmoi.layers.matrices.int4 import Int4Matrix, Int4Settings, nearest_codes

DAMPING = 0.01
"""Share of the mean square of the inputs that is added to each, so that the products can be inverted."""

_TOGETHER = 128
"""Inputs whose errors are passed on to the later ones in one product."""

_STIFFNESS = 1e-4
"""Of scales that no code tells anything of, as a share of what the others have."""

_NUMBERS = 1 << 24
"""Of the largest tensor that is made for the scales of some rows at once."""


def wanted(weight: torch.Tensor, flow: Flow) -> torch.Tensor:
    """(outputs, inputs) float32, the weight with which a layer best gives now what it gave while the model was whole.

    So it makes up for what the layers before it have lost (Li and others 2025, GPTAQ, arXiv:2504.02692).
    """
    products = flow.statistic.products
    change = torch.linalg.solve(_damped(products), (flow.crossed - products).double().t()).t()
    made: torch.Tensor = (weight.double() + weight.double() @ change).float()
    return made


def gptq_matrix(weight: torch.Tensor, settings: Int4Settings, statistic: Statistic) -> Int4Matrix:
    """(outputs, inputs) floating to codes, one input after the other, those that carry most first.

    What an input loses in rounding is made up for by the inputs that are not rounded yet, as far as they flow together
    with it; `statistic` says how far. Scales are those that rounding to the nearest would have, until all codes are
    known: then they are fitted to these.
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
    codes = torch.empty_like(codes).index_copy_(0, order, codes).t()
    matrix.set_codes(codes)
    products = _damped(statistic.products)
    step = max(1, _NUMBERS * settings.group // weight.shape[1] ** 2)
    for start in range(0, len(weight), step):
        rows = torch.arange(start, min(start + step, len(weight)))
        scale, least = _fitted(weight[rows].float(), codes[rows], matrix.rows(rows), products, settings.group)
        matrix.scale.data[rows] += scale
        matrix.least.data[rows] += least
    return matrix


def _fitted(
    weight: torch.Tensor, codes: torch.Tensor, rounded: torch.Tensor, products: torch.Tensor, group: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """What to add to the scale and to the least number of each group, (rows, groups) float16 each.

    The mean square error of the outputs is a square function of them, whose least is found exactly.

    Args:
        weight, codes, rounded: (rows, inputs), what was rounded, to what, and what that stands for now.
    """
    count = codes.shape[1] // group
    products = products.view(count, group, count, group)
    own = codes.reshape(-1, count, group).double()
    lost = torch.einsum("rgi,gihj->rhj", (weight - rounded).double().view_as(own), products)
    flows = torch.einsum("rgi,gihj->rghj", own, products)
    least = products.sum((1, 3)).expand(len(own), -1, -1)
    both = flows.sum(-1)
    curvature = torch.cat(
        [torch.cat([(flows * own[:, None]).sum(-1), both], 2), torch.cat([both.transpose(1, 2), least], 2)], 1
    )
    diagonal = curvature.diagonal(dim1=1, dim2=2)
    diagonal += _STIFFNESS * diagonal.mean(1, keepdim=True)
    change = torch.linalg.solve(curvature, torch.cat([(lost * own).sum(-1), lost.sum(-1)], 1))
    return change[:, :count].half(), change[:, count:].half()


def _damped(products: torch.Tensor) -> torch.Tensor:
    """(inputs, inputs) float64, so that it can be inverted."""
    products = products.double().clone()
    products.diagonal().add_(DAMPING * products.diagonal().mean() or 1.0)  # 1 where nothing flows
    return products


def _shares(products: torch.Tensor) -> torch.Tensor:
    """(inputs, inputs) upper triangle: how much of the error of each input each later one takes over."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(_damped(products)))
    upper: torch.Tensor = torch.linalg.cholesky(inverse, upper=True)
    return upper.float()
