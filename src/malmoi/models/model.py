"""The third door: a module built from a typed configuration."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from pydantic import PositiveInt
from torch import nn

from malmoi.core.config import Settings
from malmoi.core.errors import UserError


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


class Model(nn.Module):
    """A model of tokens. `forward` gives hidden states; `head` turns hidden states into logits.

    Keeping the two apart lets an objective look only at the positions it counts, and a classifier put another head
    on the same body.

    Attributes:
        score_bias: whether this kind of model's classifiers have biases.
    """

    config: ModelConfig
    head: nn.Module
    score_bias: ClassVar[bool] = False

    def forward(self, tokens: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        """Hidden states, (rows, length, width) in the model's dtype, of (rows, length) int64 ids.

        A family adds what it needs: a cache for generation, the lengths of padded rows.
        """
        raise NotImplementedError

    def logits(self, tokens: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        """(rows, length, vocabulary) unnormalised log-probabilities; takes what `forward` takes."""
        result: torch.Tensor = self.head(self(tokens, *arguments, **named))
        return result

    def pooled(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """(rows, width), one state that stands for each whole text.

        Args:
            tokens: (rows, length) int64, padded on the right; the padding is never looked at.
            lengths: (rows,) int64, the number of real tokens, at least 1.
        """
        raise NotImplementedError

    def pooled_from(self, hidden: torch.Tensor, lengths: torch.Tensor, first: int) -> torch.Tensor:
        """The same from the hidden states that block number `first` gets, (rows, length, width)."""
        raise NotImplementedError


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
