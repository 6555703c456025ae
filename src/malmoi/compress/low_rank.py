"""A matrix to the product of two thin ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from malmoi.compress.calibration import Statistic
from malmoi.layers.matrices.factors import Factors, FactorsSettings


def factors(weight: torch.Tensor, rank: int, statistic: Statistic | None = None) -> Factors:
    """(outputs, inputs) floating to the nearest matrix of that rank.

    Without a statistic, nearest in its numbers: the singular value decomposition, cut. With one, nearest in what it
    makes of the inputs that were seen: the mean square error of the outputs is the least that a matrix of this rank
    can have, as in SVD-LLM (Wang and others 2024, arXiv:2403.07378). The outputs are projected on the directions in
    which they are strongest, which comes to the same as to cut the whitened matrix, and inverts nothing.
    """
    matrix = Factors(weight.shape[0], weight.shape[1], FactorsSettings(rank=rank))
    exact = weight.double()
    outputs = exact if statistic is None else exact @ _root(statistic.products.double())
    directions = torch.linalg.svd(outputs, full_matrices=False)[0][:, :rank]
    matrix.narrow = _linear((directions.t() @ exact).to(weight.dtype))
    matrix.widen = _linear(directions.to(weight.dtype))
    return matrix


def strengths(weight: torch.Tensor, statistic: Statistic | None = None) -> torch.Tensor:
    """(full rank,) float64 of each direction that `factors` keeps in turn: the error that leaving it out adds."""
    exact = weight.double()
    outputs = exact if statistic is None else exact @ _root(statistic.products.double())
    sizes: torch.Tensor = torch.linalg.svdvals(outputs)
    return sizes.square()


def share_out(layers: Mapping[str, tuple[torch.Tensor, int, int]], keep: float) -> dict[str, int | None]:
    """The rank of each layer, None to leave it whole, of which all together lose the least.

    Args:
        layers: name to the error that leaving out each direction adds, and the outputs and inputs.
        keep: share of all their numbers that may be left.
    """
    limit = keep * sum(outputs * inputs for _, outputs, inputs in layers.values())
    dearest = max(float(errors.sum()) for errors, _, _ in layers.values())
    low, high = 0.0, max(dearest, torch.finfo(torch.float64).tiny)
    for _ in range(_HALVINGS):
        price = (low + high) / 2
        numbers = sum(_best(*layer, price)[1] for layer in layers.values())
        low, high = (price, high) if numbers > limit else (low, price)
    best = {name: _best(*layer, high) for name, layer in layers.items()}
    ranks = {name: rank for name, (rank, _) in best.items()}
    left = limit - sum(numbers for _, numbers in best.values())
    while fitting := {name: gain for name, gain in _gains(layers, ranks, left).items() if gain > 0}:
        name = max(fitting, key=lambda one: fitting[one])
        ranks[name] = (ranks[name] or 0) + 1
        left -= sum(layers[name][1:])
    return ranks


def _gains(
    layers: Mapping[str, tuple[torch.Tensor, int, int]], ranks: Mapping[str, int | None], left: float
) -> dict[str, float]:
    """What one rank more gives a number, of the layers that have room for one; a price leaves some numbers unspent."""
    return {
        name: float(errors[rank]) / (outputs + inputs)
        for name, (errors, outputs, inputs) in layers.items()
        if (rank := ranks[name]) is not None
        and outputs + inputs <= left
        and (rank + 1) * (outputs + inputs) < outputs * inputs
    }


_HALVINGS = 100
"""Of the price of a number, until nothing changes any more."""


def _best(errors: torch.Tensor, outputs: int, inputs: int, price: float) -> tuple[int | None, int]:
    """The rank whose error and price are least together, and its numbers; from rank 1 to the last that is smaller."""
    whole, each = outputs * inputs, outputs + inputs
    ranks = torch.arange(1, (whole - 1) // each + 1)
    if not len(ranks):
        return None, whole
    costs = errors.flip(0).cumsum(0).flip(0)[ranks] + price * each * ranks
    rank = int(costs.argmin()) + 1
    return (None, whole) if price * whole <= float(costs.min()) else (rank, rank * each)


def _linear(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight.contiguous())
    return layer


def _root(products: torch.Tensor) -> torch.Tensor:
    """(inputs, inputs) R of which R Rᵀ is `products`, which may be singular."""
    values, vectors = torch.linalg.eigh(products)
    root: torch.Tensor = vectors * values.clamp_min(0).sqrt()
    return root
