"""How the loss falls with parameters and tokens: E + A / N^alpha + B / D^beta.

Hoffmann and others 2022, "Training compute-optimal large language models", arXiv:2203.15556, section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from malmoi.core.errors import UserError

EXPONENTS = (0.02, 2.0)
"""Between which alpha and beta are looked for."""

GRID, ROUNDS = 16, 5
"""Exponents of each kind that are tried at a time, and how often closer around the best."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """A training: parameters that compute, tokens learned from, held-out loss in nats a token."""

    parameters: int
    tokens: int
    loss: float


@dataclass(frozen=True)
class Law:
    """The five numbers of the law, and by how much it misses what it was fitted to (root mean square, relative)."""

    floor: float
    parameter_scale: float
    parameter_exponent: float
    token_scale: float
    token_exponent: float
    error: float

    def loss(self, parameters: float, tokens: float) -> float:
        """The loss that it expects."""
        of_size: float = self.parameter_scale / parameters**self.parameter_exponent
        of_text: float = self.token_scale / tokens**self.token_exponent
        return self.floor + of_size + of_text


def fit(points: Sequence[Point]) -> Law:
    """The law that misses the points least, in squares of relative errors; no term is negative.

    For given exponents the rest is linear, so that only these two have to be searched.

    Raises:
        UserError: fewer than two sizes or two token counts, or fewer points than the law has numbers.
    """
    sizes, counts = {point.parameters for point in points}, {point.tokens for point in points}
    if len(points) < 5 or len(sizes) < 2 or len(counts) < 2:
        raise UserError(
            f"{len(points)} trainings of {len(sizes)} sizes and {len(counts)} token counts tell no law.",
            "Take at least 3 sizes and 2 token counts.",
        )
    parameters, tokens, losses = (
        np.array([getattr(point, name) for point in points], dtype=np.float64)
        for name in ("parameters", "tokens", "loss")
    )
    size, count = np.exp(np.log(parameters).mean()), np.exp(np.log(tokens).mean())
    least, alpha, beta, weights = np.inf, 0.0, 0.0, np.zeros(3)
    low, high = np.log(np.array([[EXPONENTS[0]] * 2, [EXPONENTS[1]] * 2]))
    for _ in range(ROUNDS):
        grid = np.exp(np.linspace(low, high, GRID))
        tried = np.stack(np.meshgrid(grid[:, 0], grid[:, 1]), axis=-1).reshape(-1, 2)
        of_size = (parameters / size) ** -tried[:, :1]
        of_text = (tokens / count) ** -tried[:, 1:]
        columns = np.stack([np.ones_like(of_size), of_size, of_text], axis=2) / losses[:, None]
        found, errors = _positive_least_squares(columns)
        best = int(errors.argmin())
        if errors[best] < least:
            least, (alpha, beta), weights = float(errors[best]), tried[best], found[best]
        step = (high - low) / (GRID - 1)
        low, high = np.log([alpha, beta]) - step, np.log([alpha, beta]) + step
    floor, first, second = weights
    root = float(np.sqrt(least / len(points)))
    return Law(float(floor), float(first * size**alpha), float(alpha), float(second * count**beta), float(beta), root)


def by_operations_alone(points: Sequence[Point], parameters: int, tokens: int) -> float:
    """The control: what a power law in parameters times tokens expects, a straight line between logarithms."""
    work = np.log([float(point.parameters) * point.tokens for point in points])
    slope, start = np.polyfit(work, np.log([point.loss for point in points]), 1)
    return float(np.exp(start + slope * np.log(float(parameters) * tokens)))


def predictions_without_each(points: Sequence[Point], parameters: int, tokens: int) -> list[float]:
    """What the law would say of another training had one of the points not been there, for each of them."""
    return [fit([*points[:place], *points[place + 1 :]]).loss(parameters, tokens) for place in range(len(points))]


def _positive_least_squares(columns: Array) -> tuple[Array, Array]:
    """(cases, 3) non-negative weights with which the columns come nearest to 1, and (cases,) squared errors.

    With three columns it is enough to try every choice of them.

    Args:
        columns: (cases, points, 3).
    """
    cases, _, width = columns.shape
    best, least = np.zeros((cases, width)), np.full(cases, np.inf)
    for count in range(1, width + 1):
        for chosen in map(list, combinations(range(width), count)):
            part = columns[:, :, chosen]
            weights = np.linalg.pinv(part).sum(axis=2)
            errors = np.square((part @ weights[:, :, None])[:, :, 0] - 1).sum(axis=1)
            better = (weights >= 0).all(axis=1) & (errors < least)
            least[better] = errors[better]
            best[better] = 0.0
            best[np.ix_(better, chosen)] = weights[better]
    return best, least
