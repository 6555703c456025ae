"""A vocabulary divided among processes: looking tokens up, scoring them, and the loss without all scores.

Shoeybi and others 2019, arXiv:1909.08053, section 3.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor
from torch.nn import functional as F

from malmoi.core.accelerator import product_dtype
from malmoi.objectives.linear_cross_entropy import rows_at_once
from malmoi.parallel.collectives import Group, all_gather, copied, summed
from malmoi.parallel.data import local
from malmoi.parallel.mesh import split_sizes


class VocabularyEmbedding(nn.Embedding):
    """An embedding of which each process has the rows of some tokens. `weight` is (vocabulary, width), divided."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(...) int64 to (..., width), whole on every process."""
        part = OwnRows.of(self.weight)
        inside = (tokens >= part.first) & (tokens < part.first + part.size)
        own = F.embedding((tokens - part.first).masked_fill(~inside, 0), part.weight) if part.size else None
        shape = (*tokens.shape, self.embedding_dim)
        found = part.weight.new_zeros(shape) if own is None else own.masked_fill(~inside[..., None], 0)
        return summed(found, part.group)

    def scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., width) to (..., vocabulary), whole on every process."""
        return all_scores(hidden, self.weight)

    def cross_entropy(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See `linear_cross_entropy`, with this weight."""
        return divided_cross_entropy(hidden, self.weight, targets)


class VocabularyLinear(nn.Linear):
    """A head without a bias of which each process scores some tokens. `weight` is (vocabulary, width), divided."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., width) to (..., vocabulary), whole on every process."""
        return all_scores(hidden, self.weight)

    def cross_entropy(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See `linear_cross_entropy`, with this weight."""
        return divided_cross_entropy(hidden, self.weight, targets)


class OwnRows:
    """The rows of a divided matrix that this process has.

    Attributes:
        weight: (size, width), the rows.
        first: number of the first one.
        sizes: how many each process has.
    """

    def __init__(self, weight: torch.Tensor, first: int, sizes: list[int], group: Group) -> None:
        self.weight, self.first, self.sizes, self.group = weight, first, sizes, group
        self.size = len(weight)

    @classmethod
    def of(cls, matrix: torch.Tensor) -> OwnRows:
        """The part of a matrix divided by rows along the innermost axis of its mesh."""
        assert isinstance(matrix, DTensor)
        mesh = matrix.device_mesh
        sizes = list(split_sizes(matrix.shape[0], mesh.size()))
        return cls(local(matrix), sum(sizes[: mesh.get_local_rank()]), sizes, mesh.get_group())


def all_scores(hidden: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """(..., width) times the rows of all processes, (..., vocabulary)."""
    part = OwnRows.of(matrix)
    own = F.linear(copied(hidden, part.group), part.weight)
    result: torch.Tensor = _AllScores.apply(own, part.sizes, part.group)  # type: ignore[no-untyped-call]
    return result


def divided_cross_entropy(hidden: torch.Tensor, matrix: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The sum over rows of -log softmax(matrix @ hidden)[target]; scalar float32, the same on every process.

    A part of the rows at a time, each process with its part of the vocabulary: three numbers a row are exchanged.

    Args:
        hidden: (rows, width).
        matrix: (vocabulary, width), divided by rows.
        targets: (rows,) int64, or IGNORED.
    """
    part = OwnRows.of(matrix)
    total: torch.Tensor = _DividedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        copied(hidden, part.group), part.weight, targets, part.first, part.group, torch.is_grad_enabled()
    )
    return total


class _AllScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: torch.Tensor, sizes: list[int], group: Group) -> torch.Tensor:
        ctx.sizes, ctx.group = sizes, group
        padded = F.pad(own, (0, sizes[0] - own.shape[-1])).contiguous()
        parts = padded.new_empty(len(sizes), *padded.shape)
        all_gather(parts.view(-1, *padded.shape[1:]), padded, group=group)
        return torch.cat([part[..., :size] for part, size in zip(parts, sizes, strict=True)], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return torch.split(gradients[0], ctx.sizes, -1)[dist.get_rank(ctx.group)].contiguous(), None, None


class _DividedCrossEntropy(torch.autograd.Function):
    """As `malmoi.objectives.linear_cross_entropy`: gradients are computed while the scores of some rows are there."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        targets: torch.Tensor,
        first: int,
        group: Group,
        learns: bool,
    ) -> torch.Tensor:
        device = hidden.device.type
        short = product_dtype(weight)
        states, table = hidden.to(short), weight.to(short)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        of_hidden = torch.empty_like(hidden, dtype=torch.float32) if learns else None
        of_weight = torch.zeros_like(weight, dtype=torch.float32) if learns and ctx.needs_input_grad[1] else None
        rows = rows_at_once(len(weight), device)
        with torch.autocast(device, enabled=False):
            for start in range(0, len(hidden), rows):
                chunk, wanted = states[start : start + rows], targets[start : start + rows]
                loss, gradient = _loss_and_gradient((chunk @ table.T).float(), wanted, first, group)
                total += loss
                if of_hidden is not None:
                    of_hidden[start : start + rows] = gradient.to(short) @ table
                if of_weight is not None:
                    of_weight += gradient.to(short).T @ chunk
        ctx.gradients, ctx.dtypes = (of_hidden, of_weight), (hidden.dtype, weight.dtype)
        return total

    @staticmethod
    def backward(
        ctx: Any, *outer: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None, None, None]:
        of_hidden, of_weight = (
            None if one is None else (one * outer[0]).to(dtype)
            for one, dtype in zip(ctx.gradients, ctx.dtypes, strict=True)
        )
        return of_hidden, of_weight, None, None, None, None


def _loss_and_gradient(
    logits: torch.Tensor, targets: torch.Tensor, first: int, group: Group
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of some rows, and the gradient of this process's (rows, own tokens) scores, in their memory."""
    greatest = logits.amax(1) if logits.shape[1] else logits.new_full((len(logits),), -torch.inf)
    dist.all_reduce(greatest, op=dist.ReduceOp.MAX, group=group)
    exponentials = logits.sub_(greatest[:, None])
    inside = (targets >= first) & (targets < first + logits.shape[1])
    rows, columns = inside.nonzero(as_tuple=True)[0], (targets[inside] - first)
    shared = logits.new_zeros(2, len(logits))
    shared[0, rows] = logits[rows, columns]
    shared[1] = exponentials.exp_().sum(1)
    dist.all_reduce(shared, group=group)
    counted = targets >= 0
    loss = (shared[1].log() - shared[0])[counted].sum()
    gradient = exponentials.div_(shared[1][:, None])
    gradient[rows, columns] -= 1
    return loss, gradient.mul_(counted[:, None])
