"""An encoder that looks both ways: one definition for the BERT, RoBERTa and DistilBERT shapes and a modern one."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from malmoi.core.errors import UserError
from malmoi.layers.attention import Attention
from malmoi.layers.feed_forward import ACTIVATIONS, GATED, FeedForward
from malmoi.layers.global_attention import GlobalAttention
from malmoi.layers.norms import LayerNorm
from malmoi.layers.rotary import RotaryTable, rotary_table
from malmoi.layers.schedule import LayerAttention
from malmoi.layers.tied_head import TiedHead
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.model import Backbone, check_room, real_tokens


class Encoder(Backbone):
    """Token, position and segment embeddings, then blocks (Devlin and others 2019, arXiv:1810.04805).

    Attributes:
        head: guesses words from hidden states; raises where the configuration has no such head.
    """

    config: EncoderConfig
    causal: ClassVar[bool] = False
    score_bias: ClassVar[bool] = True
    positions: nn.Embedding | None
    segments: nn.Embedding | None
    pooler: nn.Linear | None

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        learned = config.positions == "learned"
        self.positions = nn.Embedding(config.first_position + config.context, config.width) if learned else None
        self.segments = nn.Embedding(config.segments, config.width) if config.segments else None
        self.embedding_norm = LayerNorm(config.width, config.norm_epsilon)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            EncoderBlock(config, config.layer_attention(index)) for index in range(config.layers)
        )
        self.pooler = nn.Linear(config.width, config.width) if config.pooler != "none" else None
        self.head = MaskedHead(config, self.embedding) if config.masked_head else NoHead()

    def forward(
        self,
        tokens: torch.Tensor,
        lengths: torch.Tensor | None = None,
        segments: torch.Tensor | None = None,
        documents: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Hidden states of the last block.

        Args:
            tokens: (rows, length) int64, padded on the right.
            lengths: (rows,) int64, the number of real tokens; None where nothing is padded.
            segments: (rows, length) int64, which text each token belongs to; None for the first.
            documents: see `Backbone.through`.

        Returns:
            (rows, length, width) in the model's dtype; what stands at the padding means nothing.

        Raises:
            UserError: the tokens do not fit into the context.
        """
        return self.through(self.embed(tokens, segments), lengths, documents=documents)

    def embed(self, tokens: torch.Tensor, segments: torch.Tensor | None = None) -> torch.Tensor:
        """(rows, length) ids to (rows, length, width), what the first block gets. Raises as `forward`."""
        length, first = tokens.shape[1], self.config.first_position
        check_room(length, self.config.context)
        hidden = self.embedding(tokens)
        if self.positions is not None:
            hidden = hidden + self.positions.weight[first : first + length]
        if self.segments is not None:
            hidden = hidden + (self.segments.weight[0] if segments is None else self.segments(segments))
        result: torch.Tensor = self.dropout(self.embedding_norm(hidden))
        return result

    def through(
        self,
        hidden: torch.Tensor,
        lengths: torch.Tensor | None = None,
        *,
        first: int = 0,
        end: int | None = None,
        documents: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """See `Backbone.through`; a row of which no documents are told is one."""
        real = None if lengths is None else real_tokens(lengths, hidden.shape[1])
        rotary = self._rotary(hidden)
        if documents is None and any(layer.pattern.needs_documents for layer in self.config.attention):
            documents = hidden.new_zeros(hidden.shape[:2], dtype=torch.int64)
        for block in self.blocks[first:end]:
            hidden = block(hidden, real, rotary, documents)
        return hidden

    def _rotary(self, hidden: torch.Tensor) -> RotaryTable | None:
        """The rotations of all places, where positions are rotary."""
        config = self.config
        if config.positions != "rotary":
            return None
        size = config.width // config.heads
        return rotary_table(0, hidden.shape[1], size, config.rotary_base, hidden.dtype, hidden.device)

    def token_state(self, hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """See `Backbone.token_state`: the first token, which stands there for this, bent by the pooler."""
        state = hidden[:, 0]
        if self.pooler is None:
            return state
        bend = torch.tanh if self.config.pooler == "tanh" else torch.relu
        return bend(self.pooler(state))

    @property
    def embedding_parts(self) -> list[nn.Module]:
        """See `Backbone.embedding_parts`."""
        parts = (self.embedding, self.positions, self.segments, self.embedding_norm, self.dropout)
        return [part for part in parts if part is not None]

    @property
    def pooler_parts(self) -> list[nn.Module]:
        """See `Backbone.pooler_parts`."""
        return [] if self.pooler is None else [self.pooler]

    def add_pooler(self) -> nn.Module | None:
        """See `Backbone.add_pooler`: RoBERTa and DistilBERT are published without it."""
        if self.pooler is not None:
            return None
        self.pooler = nn.Linear(self.config.width, self.config.width)
        self.config = self.config.model_copy(update={"pooler": "tanh" if self.config.segments else "relu"})
        return self.pooler


class EncoderBlock(nn.Module):
    """Attention and feed-forward, each added to what it read, each sum normed."""

    def __init__(self, config: EncoderConfig, layer: LayerAttention) -> None:
        super().__init__()
        self.attention = (GlobalAttention if config.global_projections else Attention)(
            config.width,
            config.heads,
            config.heads,
            config.width // config.heads,
            bias=True,
            input_bias=True,
            dropout=config.dropout,
            pattern=layer.pattern,
            mix=layer.mix,
        )
        self.attention_norm = LayerNorm(config.width, config.norm_epsilon)
        self.feed_forward = FeedForward(config.width, config.feed_forward, config.activation, bias=True)
        self.feed_forward_norm = LayerNorm(config.width, config.norm_epsilon)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        hidden: torch.Tensor,
        real: torch.Tensor | None = None,
        rotary: RotaryTable | None = None,
        documents: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(rows, length, width) to the same; `real` as from `real_tokens`, `documents` as in `Backbone.through`."""
        attended = self.attention(hidden, rotary, real=real, documents=documents)
        hidden = self.attention_norm(hidden + self.dropout(attended))
        result: torch.Tensor = self.feed_forward_norm(hidden + self.dropout(self.feed_forward(hidden)))
        return result


class MaskedHead(TiedHead):
    """Guesses words: a layer, a norm, then the embedding's own weights with a bias of the head."""

    def __init__(self, config: EncoderConfig, embedding: nn.Embedding) -> None:
        super().__init__(embedding)
        self.dense = nn.Linear(config.width, config.width)
        self.norm = LayerNorm(config.width, config.norm_epsilon)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary))
        self.bend = F.gelu if config.activation in GATED else ACTIVATIONS[config.activation]

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., width) to (..., vocabulary)."""
        return super().forward(self.norm(self.bend(self.dense(hidden)))) + self.bias


class NoHead(nn.Module):
    """Stands where a model guesses no words."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Always raises.

        Raises:
            UserError: there is nothing to guess words with.
        """
        raise UserError("This encoder has no head that guesses words.", "Take a checkpoint with a masked-word head.")


def mean_pooled(hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """(rows, width) of length one, the direction of the mean of the real tokens' states.

    The way of sentence encoders such as MiniLM (Reimers and Gurevych 2019, arXiv:1908.10084): the product of two such
    rows is the similarity of the texts.
    """
    real = real_tokens(lengths, hidden.shape[1])[..., None].to(hidden.dtype)
    return F.normalize((hidden * real).sum(1) / lengths[:, None], dim=-1)
