"""PyTorch's FlexAttention: any pattern in one compiled kernel, where there is a compiler for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from malmoi.core.errors import UserError
from malmoi.layers.mixes.heads import Heads, Mix


@dataclass(frozen=True)
class Flex(Mix):
    """Compiled at its first use, which takes half a minute. On a CPU it has no gradient."""

    def refusal(self, heads: Heads) -> str:
        """See `Mix.refusal`."""
        if heads.skipped:
            return "keys that were forgotten"
        if heads.bias is not None:
            return "a bias"
        if heads.dropout:
            return "dropout of its weights"
        return "gradients on a CPU" if heads.wants_gradient and heads.query.device.type == "cpu" else ""

    def __call__(self, heads: Heads) -> torch.Tensor:
        """See `Mix.__call__`.

        Raises:
            UserError: there is no compiler.
        """
        rows, start = heads.query.shape[0], heads.start
        real, documents, pattern = heads.real, heads.documents, heads.pattern

        def allows(row: torch.Tensor, _: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
            own = documents[row] if documents is not None and pattern.needs_documents else None
            allowed = pattern.allows(query + start, key, own)
            return allowed if real is None else allowed & real[row, key]

        differ = real is not None or pattern.needs_documents
        mask = create_block_mask(allows, rows if differ else None, None, heads.length, heads.seen, heads.query.device)
        grouped = heads.query.shape[1] != heads.key.shape[1]
        parts = (heads.query, heads.key, heads.value)
        if not heads.wants_gradient:  # it looks at the tensors alone, not at whether gradients are computed
            parts = (heads.query.detach(), heads.key.detach(), heads.value.detach())
        try:
            mixed: torch.Tensor = compiled()(*parts, block_mask=mask, scale=heads.factor, enable_gqa=grouped)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"FlexAttention does not compile here: {reason}.", "Take dense or blocked.") from None
        return mixed


@lru_cache(maxsize=1)
def compiled() -> Callable[..., Any]:
    """The kernel."""
    return torch.compile(flex_attention, dynamic=True)
