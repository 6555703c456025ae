"""Attention that is looked at while it is computed."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from malmoi.layers.mixes.heads import Heads, Mix
from malmoi.layers.mixes.registry import attend


@dataclass(frozen=True)
class Seen:
    """What the queries of one layer make of the keys.

    Attributes:
        scores: (rows, heads, length, seen) float32, before the softmax; 0 where a query may not look.
        counts: broadcastable to (rows, length), how many keys each query may look at, at least 1.
    """

    scores: torch.Tensor
    counts: torch.Tensor


@dataclass(frozen=True)
class Watched(Mix):
    """Computes as another mix does, and keeps what it saw.

    Attributes:
        mix: the other one.
        found: what it saw, one for each call.
    """

    mix: Mix
    found: list[Seen] = field(default_factory=list)

    def refusal(self, heads: Heads) -> str:
        """See `Mix.refusal`."""
        return self.mix.refusal(heads)

    def __call__(self, heads: Heads) -> torch.Tensor:
        """See `Mix.__call__`."""
        self.found.append(_seen(heads))
        return attend(heads, self.mix)


def _seen(heads: Heads) -> Seen:
    key = heads.key.repeat_interleave(heads.query.shape[1] // heads.key.shape[1], dim=1)
    scores = (heads.query * heads.factor) @ key.transpose(-1, -2)
    if heads.bias is not None:
        scores = scores + heads.bias
    mask = heads.mask()
    if mask is None:
        return Seen(scores.float(), torch.tensor(float(heads.seen), device=scores.device))
    counts = mask.sum(-1).clamp_min(1)
    return Seen(scores.float().masked_fill(~mask, 0), counts if mask.dim() == 2 else counts[:, 0])
