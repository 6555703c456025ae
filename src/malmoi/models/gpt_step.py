"""One token more through the blocks of a GPT, in few operations: a processor launches them slower than it adds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn

from malmoi.layers.cache import KeyValueCache
from malmoi.layers.compressed import CompressedLinear
from malmoi.layers.matrices.matrix import QuantizedMatrix, stacked
from malmoi.layers.mixes.registry import AUTO
from malmoi.layers.norms import RMSNorm
from malmoi.layers.patterns import CAUSAL
from malmoi.layers.rotary import RotaryTable
from malmoi.layers.stores import Store

if TYPE_CHECKING:
    from malmoi.models.gpt import Block

ROWS = 16
"""Rows up to which what is launched costs more than what is computed."""

Change = Callable[[torch.Tensor], torch.Tensor]


class Step:
    """What a block computes for one token of each row, without gradient.

    It holds what the block's products read in the order in which the processor reads it, so it serves as long as the
    weights stay, as the cache does for which it is made.
    """

    def __init__(self, block: Block, store: Store, dtype: torch.dtype) -> None:
        attention, feed = block.attention, block.feed_forward
        assert attention.key is not None
        self._heads, self._key_heads = attention.heads, attention.key_value_heads
        self._head_width, self._scale, self._store = attention.head_width, attention.scale, store
        self._read, self._read_dtype = _product(dtype, attention.query, attention.key, attention.value)
        self._output, self._output_dtype = _product(dtype, attention.output)
        widening = [feed.up] if feed.gate is None else [feed.gate, feed.up]
        self._widen, self._widen_dtype = _product(dtype, *widening)
        self._narrow, self._narrow_dtype = _product(dtype, feed.down)
        self._bend, self._gated = feed.bend, feed.gate is not None
        self._attention_norm, self._feed_norm = _norm(block.attention_norm), _norm(block.feed_forward_norm)
        self._head_norm = _head_norm(attention.query_norm, attention.key_norm, self._heads, self._key_heads)

    def __call__(self, hidden: torch.Tensor, rotary: RotaryTable | None, start: int) -> torch.Tensor:
        """(rows, width) of the tokens at position `start` to the same."""
        hidden = hidden + self._attend(self._attention_norm(hidden).to(self._read_dtype), hidden.dtype, rotary, start)
        widened = self._widen(self._feed_norm(hidden).to(self._widen_dtype))
        if self._gated:
            inner = widened.shape[1] // 2
            bent = self._bend(widened.narrow(1, 0, inner)).mul_(widened.narrow(1, inner, inner))
        else:
            bent = self._bend(widened)
        return hidden + self._narrow(bent.to(self._narrow_dtype))

    def _attend(self, normed: torch.Tensor, dtype: torch.dtype, rotary: RotaryTable | None, start: int) -> torch.Tensor:
        """What attention adds to (rows, width)."""
        rows, queries, keys = normed.shape[0], self._heads, self._key_heads
        heads = self._read(normed).view(rows, -1, 1, self._head_width)
        looking = heads.narrow(1, 0, queries + keys)
        if self._head_norm is not None:
            looking = self._head_norm(looking).to(dtype)
        if rotary is not None:
            cosine, sine = rotary
            looking = torch.addcmul(looking * cosine, looking.roll(self._head_width // 2, -1), sine)
        kept = self._store.extend(start, looking.narrow(1, queries, keys), heads.narrow(1, queries + keys, keys))
        query = (looking.narrow(1, 0, queries) * self._scale).to(dtype).view(rows * keys, -1, self._head_width)
        # Keys times queries, not the other way round: in bfloat16 it takes less than half of the time.
        scores = torch.bmm(kept.key.flatten(0, 1), query.mT).mT
        mixed = torch.bmm(scores.softmax(-1), kept.value.flatten(0, 1))
        return self._output(mixed.view(rows, -1).to(self._output_dtype))


def steps(blocks: nn.ModuleList, cache: KeyValueCache, dtype: torch.dtype) -> list[Step]:
    """A step of each block; none where a block does anything that steps do not."""
    if any(module._forward_hooks or module._forward_pre_hooks for module in blocks.modules()):
        return []
    if not all(_is_plain(block) for block in blocks):
        return []
    return [Step(block, cache.layer(index).store, dtype) for index, block in enumerate(blocks)]  # type: ignore[arg-type]


def _is_plain(block: nn.Module) -> bool:
    attention = block.attention
    return (
        block.attention_convolution is None
        and block.feed_forward_convolution is None
        and attention.pattern == CAUSAL
        and attention.mix == AUTO
    )


def _product(dtype: torch.dtype, *layers: nn.Module) -> tuple[Change, torch.dtype]:
    """(rows, inputs) to the outputs of all layers, one behind the other, and the type in which it is computed."""
    matrices = [layer.matrix for layer in layers if isinstance(layer, CompressedLinear) and layer.bias is None]
    quantized = [matrix for matrix in matrices if isinstance(matrix, QuantizedMatrix)]
    whole = stacked(quantized) if len(quantized) == len(layers) else None
    if whole is not None:
        return (whole.product, dtype) if whole.product_dtype is None else (whole.few_rows, whole.product_dtype)

    def plain(hidden: torch.Tensor) -> torch.Tensor:
        made = [layer(hidden) for layer in layers]
        return torch.cat(made, -1) if len(made) > 1 else made[0]

    return (_without_onednn(plain) if dtype == torch.bfloat16 else plain), dtype


def _without_onednn(product: Change) -> Change:
    """PyTorch's own kernel takes two thirds of the time of oneDNN's for one row of bfloat16, and more for several."""

    def multiply(hidden: torch.Tensor) -> torch.Tensor:
        if len(hidden) > 1 or not torch.backends.mkldnn.enabled:
            return product(hidden)
        torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
        try:
            return product(hidden)
        finally:
            torch.backends.mkldnn.enabled = True  # type: ignore[assignment]

    return multiply


def _norm(norm: nn.Module) -> Change:
    """(..., width) to the same, of float32 at least."""
    return _scaled(norm.weight, norm.epsilon) if isinstance(norm, RMSNorm) else norm


def _head_norm(query: RMSNorm | None, key: RMSNorm | None, heads: int, key_heads: int) -> Change | None:
    """(rows, heads + key_heads, 1, head_width) to the same."""
    if query is None or key is None:
        return None
    weights = [query.weight.detach().expand(heads, -1), key.weight.detach().expand(key_heads, -1)]
    return _scaled(torch.cat(weights).unsqueeze(1), query.epsilon)


def _scaled(weight: torch.Tensor, epsilon: float) -> Change:
    """`RMSNorm` in five operations."""
    share, smallest = 1 / weight.shape[-1], torch.tensor(epsilon)

    def scaled(hidden: torch.Tensor) -> torch.Tensor:
        size = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True, dtype=torch.float32)
        return (hidden * torch.addcmul(smallest, size, size, value=share).rsqrt_()).mul_(weight)

    return scaled
