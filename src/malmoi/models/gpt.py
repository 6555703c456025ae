"""A decoder-only transformer: one definition for the Qwen3, Llama and GPT-2 shapes."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from malmoi.core.accelerator import device_of, product_dtype
from malmoi.core.errors import UserError
from malmoi.layers.attention import Attention
from malmoi.layers.bigram import BigramTable
from malmoi.layers.cache import KeyValueCache, LayerCache
from malmoi.layers.feed_forward import FeedForward
from malmoi.layers.norms import LayerNorm, RMSNorm
from malmoi.layers.patterns import CAUSAL
from malmoi.layers.reversible import Half, through_reversibly
from malmoi.layers.rotary import RotaryTable, rotary_table
from malmoi.layers.schedule import LayerAttention
from malmoi.layers.short_convolution import ShortConvolution
from malmoi.layers.tied_head import TiedHead
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.gpt_step import ROWS, Step, steps
from malmoi.models.language_model import LanguageModel
from malmoi.models.model import check_room


class GPT(LanguageModel):
    """Token embeddings, blocks, a final norm; `head` gives logits (Radford and others 2019)."""

    config: GPTConfig
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
        self.blocks = nn.ModuleList(Block(config, config.layer_attention(index)) for index in range(config.layers))
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
        hidden = self.through(self.embed(tokens, cache=cache), cache=cache, documents=self._documents(tokens, cache))
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
        documents: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """See `Backbone.through`; the lengths change nothing, since no token looks ahead at the padding.

        Args:
            documents: (rows, start + length) int64, where a pattern asks for them; a row of which none are told is one.
        """
        start, length = (cache.length if cache else 0), hidden.shape[1]
        if documents is None and self.config.needs_documents:
            documents = hidden.new_zeros((len(hidden), start + length), dtype=torch.int64)
        rotary = self._rotary(start, length, hidden)
        if self.config.reversible:
            return self._through_both_streams(hidden, rotary, cache, first, end, documents)
        if cache and length == 1 and not first and end is None and (ready := self._steps(cache, hidden)):
            single = hidden[:, 0]
            for step in ready:
                single = step(single, rotary, start)
            return single[:, None]
        for index, block in enumerate(self.blocks[first:end], start=first):
            hidden = block(hidden, rotary, cache.layer(index) if cache else None, documents)
        return hidden

    @property
    def embedding_parts(self) -> list[nn.Module]:
        """See `Backbone.embedding_parts`."""
        return [part for part in (self.embedding, self.positions, self.bigram, self.dropout) if part is not None]

    def cache(self, rows: int, length: int) -> KeyValueCache:
        """See `LanguageModel.cache`."""
        return KeyValueCache(self.config, rows, length, self.dtype, device_of(self), int8=self.int8_cache)

    def use_int8_cache(self) -> None:
        """See `LanguageModel.use_int8_cache`."""
        self.int8_cache = True

    def _through_both_streams(
        self,
        hidden: torch.Tensor,
        rotary: RotaryTable | None,
        cache: KeyValueCache | None,
        first: int,
        end: int | None,
        documents: torch.Tensor | None,
    ) -> torch.Tensor:
        if first or end not in (None, len(self.blocks)):
            raise UserError(
                "The blocks of a reversible model cannot be divided: between two of them there is more than one state.",
                "Train all layers, or take a model that is not reversible.",
            )
        halves: list[Half] = []
        modules: list[nn.Module] = []
        for index, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            own = cache.layer(index) if cache else None
            halves += [
                partial(block.attend, rotary=rotary, cache=own, documents=documents),
                partial(block.feed, cache=own),
            ]
            modules += block.halves()
        return through_reversibly(halves, modules, hidden)

    def _steps(self, cache: KeyValueCache, hidden: torch.Tensor) -> list[Step]:
        """Of all blocks, made at the first token that comes alone; empty where blocks have to compute themselves."""
        if torch.is_grad_enabled() or self.training or hidden.device.type != "cpu" or len(hidden) > ROWS:
            return []
        if torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
            return []
        if cache.steps is None:
            cache.steps = steps(self.blocks, cache, hidden.dtype)
        return cache.steps

    def _documents(self, tokens: torch.Tensor, cache: KeyValueCache | None) -> torch.Tensor | None:
        """(rows, start + length) int64, the number of the document that each token belongs to."""
        if not self.config.needs_documents:
            return None
        whole = torch.cat([cache.tokens[:, : cache.length], tokens], 1) if cache else tokens
        return whole.eq(self.config.separator or 0).cumsum(1)

    def _rotary(self, start: int, length: int, hidden: torch.Tensor) -> RotaryTable | None:
        if self.config.positions != "rotary":
            return None
        config, dtype = self.config, product_dtype(hidden)
        return rotary_table(
            start, length, config.head_width, config.rotary_base, dtype, hidden.device, config.rotary_scaling
        )


class Block(nn.Module):
    """Attention and feed-forward, each on a normed copy, each added to the residual stream."""

    attention_convolution: ShortConvolution | None
    feed_forward_convolution: ShortConvolution | None

    def __init__(self, config: GPTConfig, layer: LayerAttention) -> None:
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
            pattern=CAUSAL & layer.pattern,
            mix=layer.mix,
        )
        self.feed_forward_norm = _norm(config)
        self.feed_forward = FeedForward(config.width, config.feed_forward, config.activation, config.bias)
        self.dropout = nn.Dropout(config.dropout)
        reach = config.short_convolution
        self.attention_convolution = ShortConvolution(config.width, reach) if reach else None
        self.feed_forward_convolution = ShortConvolution(config.width, reach) if reach else None

    def forward(
        self,
        hidden: torch.Tensor,
        rotary: RotaryTable | None = None,
        cache: LayerCache | None = None,
        documents: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(rows, length, width) to the same."""
        hidden = hidden + self.attend(hidden, rotary, cache, documents)
        return hidden + self.feed(hidden, cache)

    def attend(
        self,
        hidden: torch.Tensor,
        rotary: RotaryTable | None = None,
        cache: LayerCache | None = None,
        documents: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """What attention adds to (rows, length, width)."""
        normed = self.attention_norm(hidden)
        if self.attention_convolution is not None:
            normed = self.attention_convolution(normed, cache, place=0)
        added: torch.Tensor = self.dropout(self.attention(normed, rotary, cache, documents=documents))
        return added

    def feed(self, hidden: torch.Tensor, cache: LayerCache | None = None) -> torch.Tensor:
        """What the feed-forward layer adds to (rows, length, width)."""
        normed = self.feed_forward_norm(hidden)
        if self.feed_forward_convolution is not None:
            normed = self.feed_forward_convolution(normed, cache, place=1)
        added: torch.Tensor = self.dropout(self.feed_forward(normed))
        return added

    def halves(self) -> list[nn.Module]:
        """The modules of `attend`, and those of `feed`."""
        attending = (self.attention_norm, self.attention, self.attention_convolution)
        feeding = (self.feed_forward_norm, self.feed_forward, self.feed_forward_convolution)
        return [nn.ModuleList(one for one in half if one is not None) for half in (attending, feeding)]


def _norm(config: GPTConfig) -> RMSNorm | LayerNorm:
    return (RMSNorm if config.norm == "rms" else LayerNorm)(config.width, config.norm_epsilon)
