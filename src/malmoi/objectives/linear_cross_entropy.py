"""Cross-entropy of a linear head, a part of the rows at a time: the logits of all of them are never in memory.

The way of Wijmans and others 2024, "Cut your losses in large-vocabulary language models", arXiv:2411.09009, without
its kernel: gradients are computed while the logits of a part are there, so that nothing is computed twice.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch.nn import functional as F

from malmoi.core.accelerator import product_dtype

LOGITS, LEAST_ROWS = 1 << 22, 256
"""Logits that are held at once (16 MiB of float32); more of large vocabularies, where products of few rows are slow."""

MORE_LOGITS = 1 << 27
"""The same of an accelerator: every part of the rows reads and writes the gradient of the whole table once."""


@runtime_checkable
class KnowsCrossEntropy(Protocol):
    """A head, or the embedding whose weights a head shares, that computes `linear_cross_entropy` in its own way."""

    def cross_entropy(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """(rows, width) and (rows,) to the sum; see `linear_cross_entropy`."""
        ...


def linear_cross_entropy(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The sum over rows of -log softmax(weight @ hidden)[target]; scalar float32.

    Args:
        hidden: (rows, width) floating point; products are in the dtype of autocast, where there is one.
        weight: (vocabulary, width).
        targets: (rows,) int64, or IGNORED, whose rows cost nothing.
    """
    total: torch.Tensor = _LinearCrossEntropy.apply(hidden, weight, targets, torch.is_grad_enabled())  # type: ignore[no-untyped-call]
    return total


def rows_at_once(vocabulary: int, device: str) -> int:
    """Rows whose logits are held at once on a kind of device."""
    return max(LEAST_ROWS, (LOGITS if device == "cpu" else MORE_LOGITS) // max(1, vocabulary))


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, learns: bool
    ) -> torch.Tensor:
        device, short = hidden.device.type, product_dtype(weight)
        states, table = hidden.to(short), weight.to(short)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        of_hidden = torch.empty_like(hidden, dtype=torch.float32) if learns and ctx.needs_input_grad[0] else None
        of_weight = torch.zeros_like(weight, dtype=torch.float32) if learns and ctx.needs_input_grad[1] else None
        rows = rows_at_once(len(weight), device)
        with torch.autocast(device, enabled=False):
            for start in range(0, len(hidden), rows):
                part, wanted = states[start : start + rows], targets[start : start + rows]
                logits = (part @ table.T).float()
                total += F.cross_entropy(logits, wanted, reduction="sum")
                if of_hidden is None and of_weight is None:
                    continue
                gradient = _gradient_of_logits(logits, wanted).to(short)
                if of_hidden is not None:
                    of_hidden[start : start + rows] = gradient @ table
                if of_weight is not None:
                    of_weight += gradient.T @ part
                del logits, gradient  # the next ones would be made beside them
        ctx.gradients = (of_hidden, of_weight)
        ctx.dtypes = (hidden.dtype, weight.dtype)
        return total

    @staticmethod
    def backward(ctx: Any, outer: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
        # scaled in float32: the loss scale of float16 alone may be more than float16 holds
        of_hidden, of_weight = (
            None if one is None else (one * outer).to(dtype)
            for one, dtype in zip(ctx.gradients, ctx.dtypes, strict=True)
        )
        return of_hidden, of_weight, None, None


def _gradient_of_logits(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(rows, vocabulary) softmax less the target's one, in the memory of `logits`; nothing for IGNORED rows."""
    counted = targets >= 0
    gradient = torch.softmax(logits, dim=-1, out=logits)
    gradient[torch.arange(len(targets), device=targets.device), targets.clamp(min=0)] -= 1
    return gradient.mul_(counted[:, None])
