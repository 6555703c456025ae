"""How far a figure may be from the truth, given how few items it was measured on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Figures: TypeAlias = NDArray[np.float64]

QUANTILE = 1.959963984540054
"""Of the normal distribution, for intervals that hold 95 % of it."""

RESAMPLES = 1_000


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval over the items; not a number where there are none.

    The interval knows nothing of other examples, prompts or seeds.
    """

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, Any]:
        """What goes into a stage's result."""
        return asdict(self)


def proportion(right: int, total: int) -> Estimate:
    """The share `right` of `total` with the interval of Wilson (1927), which stays sensible at 0 and 1."""
    if not total:
        return Estimate(math.nan, math.nan, math.nan)
    share, square = right / total, QUANTILE**2
    middle = (share + square / (2 * total)) / (1 + square / total)
    reach = QUANTILE * math.sqrt(share * (1 - share) / total + square / (4 * total**2)) / (1 + square / total)
    return Estimate(share, min(share, max(0.0, middle - reach)), max(share, min(1.0, middle + reach)))


def bootstrap(counts: Figures, figure: Callable[[Figures], Figures], seed: int = 0) -> Estimate:
    """A figure of summed counts with the percentile interval of the bootstrap (Efron 1979).

    Args:
        counts: (items, kinds) float64 what each item adds to each sum.
        figure: (n, kinds) sums to (n,) figures.
        seed: of the 1,000 draws of as many items, with replacement.
    """
    if not len(counts):
        return Estimate(math.nan, math.nan, math.nan)
    times = np.random.default_rng(seed).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), RESAMPLES)
    low, high = np.quantile(figure(times @ counts), [0.025, 0.975])
    return Estimate(float(figure(counts.sum(axis=0, keepdims=True))[0]), float(low), float(high))
