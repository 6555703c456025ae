"""The ways to compute attention, one line each, and which of them is taken."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from malmoi.core.errors import UserError
from malmoi.layers.mixes.blocked import Blocked
from malmoi.layers.mixes.dense import Dense, Plain
from malmoi.layers.mixes.flex import Flex
from malmoi.layers.mixes.folded import Folded, folds
from malmoi.layers.mixes.hashed import Hashed
from malmoi.layers.mixes.heads import Heads, Mix
from malmoi.layers.mixes.linear import Linear

WORTH_FUSING = 128
"""Queries up to which plain products win on a CPU, in reduced precision twice as many; measured with the backward pass.
"""

WORTH_MEMORY = 1 << 28
"""Pairs of query and key beyond which other devices compute in chunks too, since a mask of all pairs is too large."""


@dataclass(frozen=True)
class Auto(Mix):
    """The fastest of the exact ones for the pattern and the length."""

    def refusal(self, heads: Heads) -> str:
        """See `Mix.refusal`."""
        return choose(heads).refusal(heads)

    def __call__(self, heads: Heads) -> torch.Tensor:
        """See `Mix.__call__`."""
        return choose(heads)(heads)


AUTO = Auto()

MIXES: dict[str, type[Mix]] = {
    "auto": Auto,
    "dense": Dense,
    "plain": Plain,
    "blocked": Blocked,
    "folded": Folded,
    "hashed": Hashed,
    "linear": Linear,
    "flex": Flex,
}
"""Name to class."""


def attend(heads: Heads, mix: Mix = AUTO) -> torch.Tensor:
    """Every query's mean of the values, weighted by softmax(scale * query . key + bias).

    Returns:
        (rows, heads, length, head_width); zeros where a query may look at nothing.

    Raises:
        UserError: this mix cannot do that; names those that can.
    """
    refusal = mix.refusal(heads)
    if refusal:
        able = [name for name in MIXES if name != "auto" and not MIXES[name]().refusal(heads) and MIXES[name].exact]
        raise UserError(f"Attention {str(mix)!r} cannot do {refusal}.", f"These can: {', '.join(able) or 'none'}.")
    return mix(heads)


def choose(heads: Heads) -> Mix:
    """What "auto" stands for."""
    on_cpu = heads.query.device.type == "cpu"
    if not on_cpu and heads.length * heads.seen < WORTH_MEMORY:
        return Dense()
    few = WORTH_FUSING if heads.query.dtype == torch.float32 else 2 * WORTH_FUSING
    if on_cpu and heads.length <= few and (heads.seen <= few or not heads.wants_gradient):  # which keeps all weights
        return Plain()
    if folds(heads.pattern) and not Folded().refusal(heads):
        return Folded()
    near = 2 * (heads.pattern.back + heads.pattern.ahead + len(heads.pattern.globals)) <= heads.seen
    return Blocked() if near and not Blocked().refusal(heads) else Dense()
