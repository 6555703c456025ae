"""The configuration of an encoder: the BERT, RoBERTa and DistilBERT shapes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from malmoi.layers.feed_forward import GATED
from malmoi.layers.pattern import FULL
from malmoi.layers.schedule import EVERYTHING, LayerAttention, Schedule, check_schedule
from malmoi.models.model import BackboneConfig


class EncoderConfig(BackboneConfig):
    """An encoder whose norms stand behind each sublayer. The defaults are BERT's.

    Attributes:
        heads: number of attention heads.
        feed_forward: inner size of the feed-forward layer; 0 means 4 x width, or 8/3 x width rounded up to a multiple
            of 64 when it is gated.
        activation: "gelu", "gelu_tanh", "relu", or "swiglu" (gated). Not expressible in `transformers` when gated.
        positions: "learned", or "rotary" (half-split pairs), which is not expressible either.
        segments: number of kinds of text that tokens may belong to, such as question and answer; 0 for none.
        first_position: number of the first token's position: RoBERTa leaves the first two rows of the table unused.
        pooler: what bends the state that stands for the whole text, "none" where there is no such layer.
        attention: how the layers attend, in turn and from the first again, such as [window(257) | global(0)]. With
            [documents] tokens look only at those of their own document where a row holds several.
        global_projections: global tokens look through a query, key and value of their own (Longformer).
        masked_head: a head that guesses masked words.
        dropout: on embeddings, attention weights and the outputs of both sublayers.
    """

    heads: PositiveInt
    feed_forward: NonNegativeInt = 0
    activation: Literal["gelu", "gelu_tanh", "relu", "swiglu"] = "gelu"
    positions: Literal["learned", "rotary"] = "learned"
    rotary_base: PositiveFloat = 10_000.0
    norm_epsilon: PositiveFloat = 1e-12
    segments: NonNegativeInt = 2
    first_position: NonNegativeInt = 0
    pooler: Literal["none", "tanh", "relu"] = "tanh"
    attention: Schedule = (EVERYTHING,)
    global_projections: bool = False
    masked_head: bool = True
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def layer_attention(self, index: int) -> LayerAttention:
        """How layer `index` attends."""
        return self.attention[index % len(self.attention)]

    def for_classes(self) -> Self:
        """See `ModelConfig.for_classes`."""
        return self.model_copy(update={"masked_head": False})

    @model_validator(mode="before")
    @classmethod
    def _fill_derived(cls, values: dict[str, object]) -> dict[str, object]:
        width = values.get("width")
        if isinstance(width, int) and not values.get("feed_forward"):
            gated = values.get("activation") in GATED
            return {**values, "feed_forward": -(-width * 8 // 3 // 64) * 64 if gated else 4 * width}
        return values

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} do not divide a width of {self.width}")
        if self.positions == "rotary" and (self.width // self.heads) % 2:
            raise ValueError(f"rotary positions need an even head width, not {self.width // self.heads}")
        check_schedule(
            self.attention,
            FULL,
            context=self.context,
            layers=self.layers,
            heads=self.heads,
            shared=self.heads,
            dropout=self.dropout,
            padded=True,
        )
        return self
