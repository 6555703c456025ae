"""A decoder-only transformer: one definition for the Qwen3, Llama and GPT-2 shapes."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from malmoi.layers.attention import Attention
from malmoi.layers.bigram import BigramTable
from malmoi.layers.cache import KeyValueCache, LayerCache
from malmoi.layers.feed_forward import FeedForward
from malmoi.layers.norms import LayerNorm, RMSNorm
from malmoi.layers.rotary import RotaryTable, rotary_table
from malmoi.layers.short_convolution import ShortConvolution
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.model import Backbone, check_room


class GPT(Backbone):
    """Token embeddings, blocks, a final norm; `head` gives logits (Radford and others 2019)."""

    config: GPTConfig
    causal: ClassVar[bool] = True
    score_bias: ClassVar[bool] = False
    positions: nn.Embedding | None
    bigram: BigramTable | None

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Embedding(config.context, config.width) if config.positions == "learned" else None
        self.bigram = (
            BigramTable(config.vocabulary, config.bigram_buckets, config.width) if config.bigram_buckets else None
        )
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = _norm(config)
        self.head = TiedHead(self.embedding) if config.tied else nn.Linear(config.width, config.vocabulary, bias=False)

    def forward(self, tokens: torch.Tensor, cache: KeyValueCache | None = None) -> torch.Tensor:
        """Hidden states after the final norm. Padding on the right needs no mask: nothing looks ahead.

        Args:
            tokens: (rows, length) int64.
            cache: for generation; its length is the position of `tokens[:, 0]`.

        Returns:
            (rows, length, width) in the model's dtype.

        Raises:
            UserError: the tokens do not fit into the context, or into the cache.
        """
        start, length = (cache.length if cache else 0), tokens.shape[1]
        room = min(self.config.context, cache.capacity) if cache else self.config.context
        check_room(start + length, room)
        hidden = self.through(self.embed(tokens, cache=cache), cache=cache)
        if cache:
            cache.advance(tokens)
        return self.finish(hidden)

    def embed(
        self, tokens: torch.Tensor, segments: torch.Tensor | None = None, cache: KeyValueCache | None = None
    ) -> torch.Tensor:
        """See `Backbone.embed`; there are no segments here, and `forward` checks the context."""
        start, length = (cache.length if cache else 0), tokens.shape[1]
        hidden: torch.Tensor = self.embedding(tokens)
        if self.bigram is not None:
            hidden = hidden + self.bigram(tokens, cache.previous() if cache else None)
        if self.positions is not None:
            hidden = hidden + self.positions.weight[start : start + length]
        dropped: torch.Tensor = self.dropout(hidden)
        return dropped

    def through(
        self,
        hidden: torch.Tensor,
        lengths: torch.Tensor | None = None,
        *,
        first: int = 0,
        end: int | None = None,
        cache: KeyValueCache | None = None,
    ) -> torch.Tensor:
        """See `Backbone.through`; the lengths change nothing, since no token looks ahead at the padding."""
        start, length = (cache.length if cache else 0), hidden.shape[1]
        rotary = self._rotary(start, length, hidden)
        for index, block in enumerate(self.blocks[first:end], start=first):
            hidden = block(hidden, rotary, cache.layer(index) if cache else None)
        return hidden

    def finish(self, hidden: torch.Tensor) -> torch.Tensor:
        """See `Backbone.finish`: the final norm."""
        result: torch.Tensor = self.norm(hidden)
        return result

    def token_state(self, hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """See `Backbone.token_state`: the last real token is the only one that has seen the whole text."""
        return hidden[torch.arange(hidden.shape[0], device=hidden.device), lengths - 1]

    @property
    def pooler_parts(self) -> list[nn.Module]:
        """See `Backbone.pooler_parts`: the final norm."""
        return [self.norm]

    def _rotary(self, start: int, length: int, hidden: torch.Tensor) -> RotaryTable | None:
        if self.config.positions != "rotary":
            return None
        config, device = self.config, hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        return rotary_table(
            start, length, config.head_width, config.rotary_base, dtype, hidden.device, config.rotary_scaling
        )


class Block(nn.Module):
    """Attention and feed-forward, each on a normed copy, each added to the residual stream."""

    attention_convolution: ShortConvolution | None
    feed_forward_convolution: ShortConvolution | None

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.attention_norm = _norm(config)
        self.attention = Attention(
            config.width,
            config.heads,
            config.key_value_heads,
            config.head_width,
            bias=config.bias,
            input_bias=config.input_bias,
            norm_epsilon=config.norm_epsilon if config.query_key_norm else None,
            dropout=config.dropout,
            window=config.window,
        )
        self.feed_forward_norm = _norm(config)
        self.feed_forward = FeedForward(config.width, config.feed_forward, config.activation, config.bias)
        self.dropout = nn.Dropout(config.dropout)
        reach = config.short_convolution
        self.attention_convolution = ShortConvolution(config.width, reach) if reach else None
        self.feed_forward_convolution = ShortConvolution(config.width, reach) if reach else None

    def forward(
        self, hidden: torch.Tensor, rotary: RotaryTable | None = None, cache: LayerCache | None = None
    ) -> torch.Tensor:
        """(rows, length, width) to the same."""
        normed = self.attention_norm(hidden)
        if self.attention_convolution is not None:
            normed = self.attention_convolution(normed, cache, place=0)
        hidden = hidden + self.dropout(self.attention(normed, rotary, cache))
        normed = self.feed_forward_norm(hidden)
        if self.feed_forward_convolution is not None:
            normed = self.feed_forward_convolution(normed, cache, place=1)
        result: torch.Tensor = hidden + self.dropout(self.feed_forward(normed))
        return result


class TiedHead(nn.Module):
    """Multiplies with the embedding's weights. It holds no parameter of its own, so nothing can untie it."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self._embedding = (embedding,)  # a tuple, so that it does not become a submodule with a second name

    @property
    def weight(self) -> torch.Tensor:
        """(vocabulary, width), the embedding's own."""
        return self._embedding[0].weight

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., width) to (..., vocabulary)."""
        return F.linear(hidden, self.weight)


def _norm(config: GPTConfig) -> RMSNorm | LayerNorm:
    return (RMSNorm if config.norm == "rms" else LayerNorm)(config.width, config.norm_epsilon)
