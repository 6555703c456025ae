"""Models that go on with a text: causal stacks of blocks with a cache for generation."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import Field
from torch import nn

from malmoi.core.errors import UserError
from malmoi.layers.cache import Cache
from malmoi.models.model import Backbone, BackboneConfig


class LanguageModelConfig(BackboneConfig):
    """Base of the configurations of models that go on with a text.

    Attributes:
        tied: the head shares the embedding's weights.
        dropout: share of numbers that training sets to zero; the family says where.
    """

    tied: bool = True
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @property
    def mixing(self) -> list[str]:
        """How the layers learn of earlier tokens, in turn and from the first again, in a few words each."""
        raise NotImplementedError

    @classmethod
    def sized(cls, layers: int, width: int) -> dict[str, Any]:
        """The fields of a good shape of about that size, for who chooses among sizes."""
        return {"layers": layers, "width": width}

    def for_classes(self) -> Self:
        """See `ModelConfig.for_classes`."""
        return self.model_copy(update={"tied": True})


class LanguageModel(Backbone):
    """A stack in which nothing looks ahead; `head` gives the logits of the next token.

    `forward(tokens, cache)` takes what `cache` gave: the tokens are then those that follow the ones in it.

    Attributes:
        norm: what stands between the last block and the head.
        int8_cache: caches hold keys and values in eight bits a number; see `use_int8_cache`.
    """

    config: LanguageModelConfig
    causal: ClassVar[bool] = True
    score_bias: ClassVar[bool] = False
    norm: nn.Module
    int8_cache: bool = False

    def cache(self, rows: int, length: int) -> Cache:
        """An empty cache for `rows` texts of up to `length` tokens, in the model's dtype and on its device."""
        raise NotImplementedError

    def use_int8_cache(self) -> None:
        """Let caches hold keys and values in eight bits a number from now on.

        Raises:
            UserError: the model keeps no keys and values.
        """
        raise UserError(
            "This model keeps a state of fixed size of what it has read, and no keys and values to round.",
            "Leave out the int8 cache: its memory does not grow with the text.",
        )

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
