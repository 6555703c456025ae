"""Positions relative to each other, as a bias on attention (Raffel and others 2020, arXiv:1910.10683, section 2.1)."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F


class RelativePositions(nn.Module):
    """T5's positions: one number for each head and bucket of distances, shared by all blocks of a stack.

    Attributes:
        weight: (buckets, heads).
    """

    def __init__(self, heads: int, buckets: int, reach: int, both_ways: bool) -> None:
        """Make the layer; the arguments but `heads` are those of `distance_buckets`."""
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(buckets, heads))
        self.buckets, self.reach, self.both_ways = buckets, reach, both_ways

    def forward(self, start: int, length: int) -> torch.Tensor:
        """(heads, length, start + length), the bias of `length` queries from position `start` on to all keys."""
        device = self.weight.device
        queries = torch.arange(start, start + length, device=device)
        distances = torch.arange(start + length, device=device) - queries[:, None]
        buckets = distance_buckets(distances, self.buckets, self.reach, self.both_ways)
        return F.embedding(buckets, self.weight).permute(2, 0, 1)


def distance_buckets(distances: torch.Tensor, buckets: int, reach: int, both_ways: bool) -> torch.Tensor:
    """The bucket of each distance: half of them hold one distance each, the others grow with its logarithm.

    Args:
        distances: int64, the position of the key less that of the query.
        buckets: how many there are.
        reach: from this distance on everything falls into the last bucket.
        both_ways: the second half of the buckets is for keys after the query; else those count as at distance 0.
    """
    if both_ways:
        half = buckets // 2
        return distance_buckets(-distances.abs(), half, reach, both_ways=False) + half * (distances > 0)
    distances = (-distances).clamp(min=0)
    exact = buckets // 2
    times = distances.clamp(min=exact).float() / exact
    grown = exact + (times.log() / math.log(reach / exact) * (buckets - exact)).long()
    return torch.where(distances < exact, distances, grown.clamp(max=buckets - 1))
