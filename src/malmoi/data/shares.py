"""Mixtures of sources: weights count tokens, and no source is read more often than a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from malmoi.core.errors import UserError, nearest

BYTES_A_TOKEN = 4.0
"""Estimate while there is no tokenizer."""


@dataclass(frozen=True)
class Share:
    """What a mixture takes of one source: the weight asked for, the share of the tokens it gets, and its epochs."""

    weight: float
    share: float
    epochs: float


def normalized_weights(weights: Mapping[str, float], sizes: Mapping[str, float]) -> dict[str, float]:
    """The weights above 0 with the sum 1; those of all sources by size when there are none.

    Raises:
        UserError: a weight names no source, is negative, or all are 0.
    """
    for name, weight in weights.items():
        if name not in sizes:
            raise UserError(
                f"The mixture names {name!r}, of which the corpus has no training text.",
                nearest(name, sizes) or f"There are: {', '.join(sizes)}.",
            )
        if weight < 0:
            raise UserError(f"The mixture gives {name!r} the weight {weight}.", "Weights are 0 or more.")
    given = weights or sizes
    chosen = {name: float(given[name]) for name in sizes if given.get(name, 0) > 0}
    if not chosen:
        raise UserError("There is no training text: every weight is 0 or the corpus is empty.", "Add text or weights.")
    total = sum(chosen.values())
    return {name: weight / total for name, weight in chosen.items()}


def share_out(
    weights: Mapping[str, float], sizes: Mapping[str, float], total: float | None, most_epochs: float
) -> dict[str, Share]:
    """The share of each source in `total` tokens, when none may be read more than `most_epochs` times.

    What a source that is too small cannot give, the others give by their weights; the shares sum to less than 1 only
    when all of them are too small.

    Args:
        weights: source -> weight, see `normalized_weights`.
        sizes: source -> tokens.
        total: tokens of the whole mixture; None for the most that gives every source its weight.
        most_epochs: four are nearly as good as new text (Muennighoff et al. 2023).
    """
    asked = normalized_weights(weights, sizes)
    if total is None:
        total = min(most_epochs * sizes[name] / weight for name, weight in asked.items())
    limits = {name: most_epochs * sizes[name] / total for name in asked}
    shares = dict(asked)
    while over := {name for name in asked if shares[name] > limits[name] * (1 + 1e-9)}:
        full = {name for name in asked if name in over or shares[name] >= limits[name]}
        rest, free = 1 - sum(limits[name] for name in full), sum(asked[name] for name in asked if name not in full)
        shares = {name: limits[name] if name in full else asked[name] * rest / free for name in asked}
    return {name: Share(asked[name], shares[name], shares[name] * total / sizes[name]) for name in asked}
