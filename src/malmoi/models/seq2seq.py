"""An encoder-decoder: one definition for the Transformer of 2017, Marian's and T5's shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from malmoi.core.accelerator import device_of
from malmoi.layers.attention import Attention
from malmoi.layers.cache import CacheSizes, KeysAndValues, KeyValueCache, LayerCache
from malmoi.layers.feed_forward import FeedForward
from malmoi.layers.norms import LayerNorm, RMSNorm
from malmoi.layers.pattern import FULL
from malmoi.layers.patterns import CAUSAL
from malmoi.layers.relative_positions import RelativePositions
from malmoi.layers.sinusoids import sinusoids
from malmoi.layers.tied_head import TiedHead
from malmoi.models.model import Model, check_room, real_tokens
from malmoi.models.seq2seq_config import EncoderDecoderConfig


class EncoderDecoder(Model):
    """An encoder reads the source, a decoder writes the target (Vaswani and others 2017, arXiv:1706.03762)."""

    config: EncoderDecoderConfig

    def __init__(self, config: EncoderDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = Stack(config, config.layers, decodes=False)
        self.decoder = Stack(config, config.decoder_layers, decodes=True)
        self.head = (
            TranslatorHead(config, self.embedding)
            if config.tied
            else nn.Linear(config.width, config.vocabulary, bias=False)
        )

    def forward(
        self,
        source: torch.Tensor,
        source_lengths: torch.Tensor | None,
        target: torch.Tensor,
        cache: KeyValueCache | None = None,
    ) -> torch.Tensor:
        """Hidden states of the decoder. Padding on the right of the target needs no mask: nothing looks ahead.

        Args:
            source: (rows, length) int64, padded on the right.
            source_lengths: (rows,) int64, the number of real tokens; None where nothing is padded.
            target: (rows, target length) int64, which begins with `config.start`.
            cache: as for `decode`.

        Returns:
            (rows, target length, width) in the model's dtype.

        Raises:
            UserError: source or target do not fit into the context, or the target not into the cache.
        """
        return self.decode(target, self.encode(source, source_lengths), source_lengths, cache)

    def encode(self, source: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """What the decoder looks at, (rows, length, width); what stands at the padding means nothing.

        Takes and raises what `forward` does.
        """
        check_room(source.shape[1], self.config.context)
        result: torch.Tensor = self.encoder(self.embed(source, 0), real=_real(lengths, source.shape[1]))
        return result

    def decode(
        self,
        target: torch.Tensor,
        memory: torch.Tensor,
        lengths: torch.Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> torch.Tensor:
        """Hidden states of the decoder, see `forward`.

        Args:
            target: (rows, length) int64; with a cache what comes after the tokens in it.
            memory: what `encode` gave.
            lengths: of the source.
            cache: from `cache`, for generation; it belongs to this memory, whose keys and values it keeps.
        """
        start = cache.length if cache else 0
        context = self.config.context
        check_room(start + target.shape[1], min(context, cache.capacity) if cache else context)
        if cache and not cache.sources:
            cache.sources = self.decoder.sources(memory)
        sources = cache.sources if cache else None
        real = _real(lengths, memory.shape[1])
        hidden: torch.Tensor = self.decoder(
            self.embed(target, start), memory=memory, sources=sources, source_real=real, cache=cache
        )
        if cache:
            cache.advance(target)
        return hidden

    def cache(self, rows: int, length: int) -> KeyValueCache:
        """An empty cache for `rows` targets of up to `length` tokens, in the model's dtype and on its device."""
        config = self.config
        sizes = CacheSizes(config.decoder_layers, config.width, config.heads, config.head_width)
        return KeyValueCache(sizes, rows, length, self.dtype, device_of(self))

    def embed(self, tokens: torch.Tensor, start: int = 0) -> torch.Tensor:
        """(rows, length) int64 ids, the first of them at place `start`, to (rows, length, width)."""
        config = self.config
        hidden: torch.Tensor = self.embedding(tokens)
        if config.scaled_embedding:
            hidden = hidden * config.width**0.5
        if config.positions == "sinusoidal":
            hidden = hidden + sinusoids(start, tokens.shape[1], config.width, hidden.dtype, hidden.device)
        dropped: torch.Tensor = self.dropout(hidden)
        return dropped


class Stack(nn.Module):
    """The blocks of the encoder or of the decoder, with what they share."""

    relative_positions: RelativePositions | None

    def __init__(self, config: EncoderDecoderConfig, layers: int, decodes: bool) -> None:
        super().__init__()
        self.relative_positions = (
            RelativePositions(config.heads, config.relative_buckets, config.relative_reach, both_ways=not decodes)
            if config.positions == "relative"
            else None
        )
        self.blocks = nn.ModuleList(Block(config, decodes) for _ in range(layers))
        self.norm = _norm(config) if config.norm_first else nn.Identity()

    def forward(
        self,
        hidden: torch.Tensor,
        real: torch.Tensor | None = None,
        memory: torch.Tensor | None = None,
        sources: Sequence[KeysAndValues] | None = None,
        source_real: torch.Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> torch.Tensor:
        """(rows, length, width) to the same, normed; see `through`."""
        result: torch.Tensor = self.norm(self.through(hidden, real, memory, sources, source_real, cache))
        return result

    def through(
        self,
        hidden: torch.Tensor,
        real: torch.Tensor | None = None,
        memory: torch.Tensor | None = None,
        sources: Sequence[KeysAndValues] | None = None,
        source_real: torch.Tensor | None = None,
        cache: KeyValueCache | None = None,
        *,
        first: int = 0,
        end: int | None = None,
    ) -> torch.Tensor:
        """(rows, length, width) through the blocks from `first` to before `end`, all by default.

        Args:
            real: as for `Attention`.
            memory: what the blocks of a decoder look at, (rows, source length, width).
            sources: what each of all blocks makes of it, from `sources`, if that is known.
            source_real: the same of the source.
        """
        start, length = (cache.length if cache else 0), hidden.shape[1]
        bias = None if self.relative_positions is None else self.relative_positions(start, length)
        for index, block in enumerate(self.blocks[first:end], first):
            source = sources[index] if sources else memory
            hidden = block(hidden, real, bias, cache.layer(index) if cache else None, source, source_real)
        return hidden

    def sources(self, memory: torch.Tensor) -> list[KeysAndValues]:
        """The keys and values of the source, one pair for each block that looks at it."""
        blocks = [block for block in self.blocks if isinstance(block, Block)]
        return [block.cross_attention.keys_and_values(memory) for block in blocks if block.cross_attention is not None]


class Block(nn.Module):
    """Attention, in a decoder attention to the source, and feed-forward, each added to the residual stream."""

    cross_attention: Attention | None
    cross_attention_norm: LayerNorm | RMSNorm | None

    def __init__(self, config: EncoderDecoderConfig, decodes: bool) -> None:
        super().__init__()
        self.norm_first = config.norm_first
        self.attention = _attention(config, causal=decodes)
        self.attention_norm = _norm(config)
        self.cross_attention = _attention(config, causal=False) if decodes else None
        self.cross_attention_norm = _norm(config) if decodes else None
        self.feed_forward = FeedForward(config.width, config.feed_forward, config.activation, config.bias)
        self.feed_forward_norm = _norm(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        hidden: torch.Tensor,
        real: torch.Tensor | None,
        bias: torch.Tensor | None,
        cache: LayerCache | None,
        source: KeysAndValues | torch.Tensor | None,
        source_real: torch.Tensor | None,
    ) -> torch.Tensor:
        """(rows, length, width) to the same; see `Stack`.

        Args:
            source: the states of the source, or the keys and values that this block makes of them.
        """
        hidden = self._add(hidden, self.attention_norm, self.attention, cache=cache, real=real, bias=bias)
        if self.cross_attention is not None and self.cross_attention_norm is not None:
            if isinstance(source, torch.Tensor):
                source = self.cross_attention.keys_and_values(source)
            hidden = self._add(hidden, self.cross_attention_norm, self.cross_attention, real=source_real, source=source)
        return self._add(hidden, self.feed_forward_norm, self.feed_forward)

    def _add(self, hidden: torch.Tensor, norm: nn.Module, sublayer: nn.Module, **arguments: Any) -> torch.Tensor:
        """What the sublayer makes of the residual stream, added to it; the norm before it or behind the sum."""
        result: torch.Tensor
        if self.norm_first:
            result = hidden + self.dropout(sublayer(norm(hidden), **arguments))
        else:
            result = norm(hidden + self.dropout(sublayer(hidden, **arguments)))
        return result


class TranslatorHead(TiedHead):
    """Multiplies with the embedding's weights, scales and adds what the configuration asks for.

    Attributes:
        bias: (1, vocabulary), the row that Marian stores; None for none.
    """

    bias: nn.Parameter | None

    def __init__(self, config: EncoderDecoderConfig, embedding: nn.Embedding) -> None:
        super().__init__(embedding)
        self.scale = config.width**-0.5 if config.scaled_head else 1.0
        self.bias = nn.Parameter(torch.zeros(1, config.vocabulary)) if config.head_bias else None

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., width) to (..., vocabulary)."""
        logits = super().forward(hidden * self.scale)
        return logits if self.bias is None else logits + self.bias


def _attention(config: EncoderDecoderConfig, causal: bool) -> Attention:
    return Attention(
        config.width,
        config.heads,
        config.heads,
        config.head_width,
        bias=config.bias,
        input_bias=config.bias,
        dropout=config.dropout,
        pattern=CAUSAL if causal else FULL,
        scaled=config.scaled_attention,
    )


def _norm(config: EncoderDecoderConfig) -> LayerNorm | RMSNorm:
    return (RMSNorm if config.norm == "rms" else LayerNorm)(config.width, config.norm_epsilon)


def _real(lengths: torch.Tensor | None, length: int) -> torch.Tensor | None:
    return None if lengths is None else real_tokens(lengths, length)
