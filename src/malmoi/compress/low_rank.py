"""A matrix to the product of two thin ones."""

from __future__ import annotations

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


def _linear(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight.contiguous())
    return layer


def _root(products: torch.Tensor) -> torch.Tensor:
    """(inputs, inputs) R of which R Rᵀ is `products`, which may be singular."""
    values, vectors = torch.linalg.eigh(products)
    root: torch.Tensor = vectors * values.clamp_min(0).sqrt()
    return root
