"""The recurrence of a selective state-space model: one token after the other, and many at a time.

Gu and Dao 2023, Mamba, arXiv:2312.00752: what a state keeps, takes in and gives out depends on the token. Dao and Gu
2024, arXiv:2405.21060, section 6: with one decay a head the same is a product of matrices inside a chunk of tokens, and
a recurrence over chunks alone.

Shapes of both functions, float32:
    values: (rows, length, heads, head_width), what is to be remembered.
    log_decays: (rows, length, heads), at most 0: the logarithm of what is kept of the state before.
    writes: (rows, length, size), where in the state it goes.
    reads: (rows, length, size), where from the state is read.
    state: (rows, size, heads, head_width), before the first token.
They return (rows, length, heads, head_width), and the state after the last token:
    state[t] = exp(log_decays[t]) * state[t - 1] + writes[t] x values[t];  output[t] = reads[t] . state[t]
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

CHUNK = 32
"""Tokens that are computed together: of 16, 32 and 64 the fastest on a CPU."""

Scanned = tuple[torch.Tensor, torch.Tensor]


def sequential_scan(
    values: torch.Tensor, log_decays: torch.Tensor, writes: torch.Tensor, reads: torch.Tensor, state: torch.Tensor
) -> Scanned:
    """The formula as it stands; what `chunked_scan` must agree with."""
    outputs = []
    for value, decay, write, read in zip(
        values.unbind(1), log_decays.exp().unbind(1), writes.unbind(1), reads.unbind(1), strict=True
    ):
        state = decay[:, None, :, None] * state + write[:, :, None, None] * value[:, None]
        outputs.append(torch.einsum("rs,rshw->rhw", read, state))
    return torch.stack(outputs, dim=1), state


def chunked_scan(
    values: torch.Tensor,
    log_decays: torch.Tensor,
    writes: torch.Tensor,
    reads: torch.Tensor,
    state: torch.Tensor,
    chunk: int = CHUNK,
) -> Scanned:
    """The same, `chunk` tokens at a time. Decays are added up as logarithms, so that none is divided by another."""
    rows, length = values.shape[:2]
    chunk = min(chunk, length)
    rest = -length % chunk
    values, log_decays, writes, reads = (
        _pad(one, rest).reshape(rows, -1, chunk, *one.shape[2:]) for one in (values, log_decays, writes, reads)
    )
    kept = log_decays.cumsum(2)  # (rows, chunks, chunk, heads), since the beginning of the chunk
    inside = _inside(values, kept, writes, reads)
    last = kept[:, :, -1:]
    remembered = (values * (last - kept).exp()[..., None]).flatten(3)
    added = _by_head(writes.mT @ remembered, values)  # (rows, chunks, size, heads, head_width)
    decays = last.exp()[..., None]  # (rows, chunks, 1, heads, 1)
    before = []
    for number in range(values.shape[1]):
        before.append(state)
        state = decays[:, number] * state + added[:, number]
    earlier = _by_head(reads @ torch.stack(before, 1).flatten(3), values)
    outputs = inside + kept.exp()[..., None] * earlier
    return outputs.flatten(1, 2)[:, :length], state


def _inside(values: torch.Tensor, kept: torch.Tensor, writes: torch.Tensor, reads: torch.Tensor) -> torch.Tensor:
    """What tokens read of those before them in the same chunk."""
    chunk = values.shape[2]
    kept = kept.transpose(2, 3)
    future = torch.ones(chunk, chunk, dtype=torch.bool, device=values.device).triu(1)
    decays = (kept[..., :, None] - kept[..., None, :]).masked_fill(future, -torch.inf).exp()
    weights = (reads @ writes.mT)[:, :, None] * decays  # (rows, chunks, heads, chunk, chunk)
    return (weights @ values.transpose(2, 3)).transpose(2, 3)


def _by_head(tensor: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(..., heads * head_width) to (..., heads, head_width), as `values` has them."""
    return tensor.view(*tensor.shape[:-1], *values.shape[-2:])


def _pad(tensor: torch.Tensor, rest: int) -> torch.Tensor:
    """`rest` more tokens that write nothing and let nothing decay."""
    return F.pad(tensor, (0, 0) * (tensor.ndim - 2) + (0, rest)) if rest else tensor
