"""The third door: a module built from a typed configuration."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import PositiveInt
from torch import nn

from malmoi.core.config import Settings


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


class Model(nn.Module):
    """A model of tokens. `forward` gives hidden states; `head` turns hidden states into logits.

    Keeping the two apart lets an objective look only at the positions it counts, and a classifier put another head
    on the same body.
    """

    config: ModelConfig
    head: nn.Module

    def forward(self, tokens: torch.Tensor, cache: Any = None) -> torch.Tensor:
        """Hidden states after the final norm.

        Args:
            tokens: (rows, length) int64.
            cache: a `KeyValueCache` for generation; its length is the position of `tokens[:, 0]`.

        Returns:
            (rows, length, width) in the model's dtype.
        """
        raise NotImplementedError

    def logits(self, tokens: torch.Tensor, cache: Any = None) -> torch.Tensor:
        """(rows, length, vocabulary) unnormalised log-probabilities."""
        result: torch.Tensor = self.head(self(tokens, cache))
        return result
