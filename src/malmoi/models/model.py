"""The third door: a module built from a typed configuration."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import PositiveInt
from torch import nn

from malmoi.core.config import Settings
from malmoi.core.errors import UserError
from malmoi.layers.matrices.matrix import QuantizedMatrix

Pooling = Literal["token", "concat", "matches"]


class ModelConfig(Settings):
    """Base of every family's configuration.

    Attributes:
        vocabulary: number of token ids.
        context: longest sequence in tokens.
        width: size of a hidden state.
    """

    vocabulary: PositiveInt
    context: PositiveInt
    width: PositiveInt

    @property
    def depth(self) -> int:
        """Number of blocks of the deepest stack."""
        layers: int = getattr(self, "layers", 0)
        return layers

    def for_classes(self) -> Self:
        """The same without a head of words of its own, as classifiers are published."""
        return self


class BackboneConfig(ModelConfig):
    """Base of the configurations of models that are one stack of blocks.

    Attributes:
        layers: number of blocks.
        pooling: what a classifier reads. "token" is the state of the one token that stands for the text, as published
            classifiers have it; "concat" is that beside the mean and the maximum over all tokens (Howard and Ruder
            2018, arXiv:1801.06146), and "matches" reads the texts of a pair apart and how well their tokens match,
            see `malmoi.models.matches`; nobody else opens these.
    """

    layers: PositiveInt
    pooling: Pooling = "token"

    @property
    def pooled_width(self) -> int:
        """Size of what a classifier reads."""
        return {"token": self.width, "concat": 3 * self.width, "matches": 4}[self.pooling]


class Model(nn.Module):
    """A model of tokens. `forward` gives hidden states; `head` turns hidden states into logits.

    Keeping the two apart lets an objective look only at the positions it counts, and a classifier put another head
    on the same body.
    """

    config: ModelConfig
    head: nn.Module

    def forward(self, tokens: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        """Hidden states, (rows, length, width) in the model's dtype, of (rows, length) int64 ids.

        A family adds what it needs: a cache for generation, the lengths of padded rows.
        """
        raise NotImplementedError

    @property
    def dtype(self) -> torch.dtype:
        """Of its hidden states: that of its parameters, compressed ones left aside."""
        own = (module for module in self.modules() if not isinstance(module, QuantizedMatrix))
        return next(parameter.dtype for module in own for parameter in module.parameters(recurse=False))

    def logits(self, tokens: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        """(rows, length, vocabulary) unnormalised log-probabilities; takes what `forward` takes."""
        result: torch.Tensor = self.head(self(tokens, *arguments, **named))
        return result


class Backbone(Model):
    """A model that is one stack of blocks, so that a classifier can stand on it.

    Attributes:
        blocks: what the hidden states pass, from below.
        causal: nothing looks ahead, so that only the last token has seen the whole text.
        score_bias: whether published classifiers of this kind have biases.
    """

    config: BackboneConfig
    blocks: nn.ModuleList
    causal: ClassVar[bool]
    score_bias: ClassVar[bool]

    def embed(self, tokens: torch.Tensor, segments: torch.Tensor | None = None) -> torch.Tensor:
        """(rows, length) int64 ids to (rows, length, width), what the first block gets.

        Args:
            segments: (rows, length) int64, which text of a pair each token belongs to; nothing to a causal model.

        Raises:
            UserError: the tokens do not fit into the context.
        """
        raise NotImplementedError

    def through(
        self,
        hidden: torch.Tensor,
        lengths: torch.Tensor | None = None,
        *,
        first: int = 0,
        end: int | None = None,
        documents: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(rows, length, width) through the blocks from `first` to before `end`, all by default.

        Args:
            lengths: (rows,) int64, the number of real tokens, padded on the right; None where nothing is padded.
            documents: (rows, length) int64, the document of each token, for patterns that ask for it.
        """
        raise NotImplementedError

    @property
    def embedding_parts(self) -> list[nn.Module]:
        """What `embed` computes with."""
        raise NotImplementedError

    def pooled(self, hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """(rows, pooled width), what stands for each text, of what the last block gives; see `BackboneConfig.pooling`.

        Args:
            hidden: (rows, length, width); the padding is not looked at.
            lengths: (rows,) int64, the number of real tokens, at least 1.
        """
        hidden = self.finish(hidden)
        token = self.token_state(hidden, lengths)
        if self.config.pooling == "token":
            return token
        real = real_tokens(lengths, hidden.shape[1])[..., None]
        mean = hidden.masked_fill(~real, 0).sum(1) / lengths[:, None]
        return torch.cat([token, mean, hidden.masked_fill(~real, -torch.inf).amax(1)], dim=-1)

    def finish(self, hidden: torch.Tensor) -> torch.Tensor:
        """What `forward` gives, of what the last block gives."""
        return hidden

    def token_state(self, hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """(rows, width), the state of the one token that stands for each text; takes what `forward` gives."""
        raise NotImplementedError

    @property
    def pooler_parts(self) -> list[nn.Module]:
        """What `pooled` computes with."""
        raise NotImplementedError

    def add_pooler(self) -> nn.Module | None:
        """Add the layer that published classifiers of this kind have before the scores, and return it, to be filled.

        None where it is there, or the kind has no such layer.
        """
        return None

    def cut(self, layers: int) -> None:
        """Keep the lowest layers only: the upper ones of a language model serve the next token.

        Raises:
            UserError: there are not so many.
        """
        if layers > len(self.blocks):
            raise UserError(f"The base has {len(self.blocks)} layers, not {layers}.", "Set layers to 0 for all.")
        del self.blocks[layers:]
        self.config = self.config.model_copy(update={"layers": layers})


def real_tokens(lengths: torch.Tensor, length: int) -> torch.Tensor:
    """(rows, length) boolean, True where a row has a real token and no padding."""
    return torch.arange(length, device=lengths.device) < lengths[:, None]


def check_room(length: int, room: int) -> None:
    """Refuse a text that is too long.

    Raises:
        UserError: `length` tokens are more than `room`.
    """
    if length > room:
        raise UserError(
            f"{length} tokens do not fit into the context of {room}.",
            "Shorten the text, or use a model with a longer context.",
        )
