"""How well the tokens of two texts that were read apart match each other."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from malmoi.models.model import real_tokens


class Texts:
    """The two texts of each row, as rows of their own: all first texts, then all second ones.

    Attributes:
        lengths: (2 x rows,) int64, the number of tokens of each.
    """

    def __init__(self, lengths: torch.Tensor, segments: torch.Tensor) -> None:
        """Take (rows,) int64 lengths and (rows, length) int64 segments: 0 in the first text, 1 in the second."""
        second = segments.sum(1)
        self._first = lengths - second
        self.lengths = torch.cat([self._first, second])
        self._rows = torch.arange(len(lengths), device=lengths.device)

    def apart(self, values: torch.Tensor) -> torch.Tensor:
        """(rows, length, ...) to (2 x rows, length of the longest text, ...), what is padded filled with anything."""
        starts = torch.cat([torch.zeros_like(self._first), self._first])
        places = starts[:, None] + torch.arange(int(self.lengths.max()), device=values.device)
        return values[self._rows.repeat(2)[:, None], places.clamp(max=values.shape[1] - 1)]

    def together(self, values: torch.Tensor) -> torch.Tensor:
        """What `apart` was given, of what it gave."""
        places = torch.arange(int((self.lengths.view(2, -1)).sum(0).max()), device=values.device)
        second = places >= self._first[:, None]
        rows = self._rows[:, None] + len(self._rows) * second
        return values[rows, (places - self._first[:, None] * second).clamp(max=values.shape[1] - 1)]


def matches(states: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """(rows, 4), of each text of a pair the mean and the lowest match of its tokens in the other.

    A token's match is the largest cosine of its state with one of the other text's (Khattab and Zaharia 2020,
    arXiv:2004.12832): high on average where the other text says the same, low somewhere where it leaves something out.

    Args:
        states: (2 x rows, length, width), first texts before second ones; the padding is not looked at.
        lengths: (2 x rows,) int64, at least 1.
    """
    first, second = F.normalize(states, dim=-1).chunk(2)
    real_first, real_second = real_tokens(lengths, states.shape[1]).chunk(2)
    cosines = first @ second.mT
    return torch.cat([_of_one(cosines, real_first, real_second), _of_one(cosines.mT, real_second, real_first)], dim=-1)


def _of_one(cosines: torch.Tensor, real: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """(rows, 2) of (rows, length, length of the others) and which tokens are no padding."""
    best = cosines.masked_fill(~others[:, None], -torch.inf).amax(-1)
    mean = best.masked_fill(~real, 0).sum(-1) / real.sum(-1)
    return torch.stack([mean, best.masked_fill(~real, torch.inf).amin(-1)], dim=-1)
