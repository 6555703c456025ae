"""The configuration of an encoder-decoder: the Transformer of 2017, Marian's and T5's shapes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from malmoi.models.model import ModelConfig


class EncoderDecoderConfig(ModelConfig):
    """An encoder and a decoder that share one vocabulary. The defaults are the Transformer's of 2017, with biases.

    Attributes:
        context: longest source, and longest target, in tokens.
        start: id of the token that the decoder begins with, and with which rows are filled up.
        never: ids that are never generated.
        beams: targets that a search keeps, unless it is told otherwise; 1 takes the most probable token at every step.
        layers: number of blocks of the encoder.
        decoder_layers: number of blocks of the decoder; 0 means as many.
        heads: number of attention heads.
        head_width: size of one head; 0 means width / heads.
        feed_forward: inner size of the feed-forward layer; 0 means 4 x width.
        activation: "relu", "gelu", "gelu_tanh", "silu"; "swiglu" and "geglu_tanh" are gated.
        norm: "layer" (with bias) or "rms" (no bias).
        norm_first: norms stand before each sublayer and behind the last block, not behind each sublayer.
        positions: "sinusoidal", or "relative": a bias on attention for each bucket of distances.
        relative_buckets, relative_reach: see `distance_buckets`; of relative positions alone.
        bias: biases in the linear layers of attention and feed-forward.
        scaled_attention: products of query and key are divided by sqrt(head_width).
        scaled_embedding: embeddings are multiplied by sqrt(width).
        tied: the head shares the weights of the embedding.
        scaled_head: hidden states are divided by sqrt(width) before a tied head.
        head_bias: a number for each token that a tied head adds to its logit.
        dropout: on embeddings, attention weights and the outputs of the sublayers.
    """

    start: NonNegativeInt
    never: tuple[NonNegativeInt, ...] = ()
    beams: PositiveInt = 1
    layers: PositiveInt
    decoder_layers: NonNegativeInt = 0
    heads: PositiveInt
    head_width: NonNegativeInt = 0
    feed_forward: NonNegativeInt = 0
    activation: Literal["relu", "gelu", "gelu_tanh", "silu", "swiglu", "geglu_tanh"] = "relu"
    norm: Literal["layer", "rms"] = "layer"
    norm_epsilon: PositiveFloat = 1e-5
    norm_first: bool = False
    positions: Literal["sinusoidal", "relative"] = "sinusoidal"
    relative_buckets: Annotated[int, Field(ge=4)] = 32
    relative_reach: PositiveInt = 128
    bias: bool = True
    scaled_attention: bool = True
    scaled_embedding: bool = True
    tied: bool = True
    scaled_head: bool = False
    head_bias: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @property
    def depth(self) -> int:
        """See `ModelConfig.depth`."""
        return max(self.layers, self.decoder_layers)

    @model_validator(mode="before")
    @classmethod
    def _fill_derived(cls, values: dict[str, object]) -> dict[str, object]:
        """Replace the zeros that stand for "derived" by the numbers they stand for."""
        values = dict(values)
        width, heads, layers = values.get("width"), values.get("heads"), values.get("layers")
        if isinstance(layers, int):
            values["decoder_layers"] = values.get("decoder_layers") or layers
        if isinstance(width, int):
            values["feed_forward"] = values.get("feed_forward") or 4 * width
            if isinstance(heads, int) and heads > 0:
                values["head_width"] = values.get("head_width") or width // heads
        return values

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        if not self.head_width:
            raise ValueError(f"heads={self.heads} do not fit into a width of {self.width}")
        if self.positions == "sinusoidal" and self.width % 2:
            raise ValueError(f"sinusoidal positions need an even width, not {self.width}")
        if self.relative_reach <= self.relative_buckets // 2:
            raise ValueError(f"relative_reach={self.relative_reach} is not more than half of relative_buckets")
        if max((self.start, *self.never)) >= self.vocabulary:
            raise ValueError(f"start={self.start} or never={self.never} is not in a vocabulary of {self.vocabulary}")
        if not self.tied and (self.scaled_head or self.head_bias):
            raise ValueError("scaled_head and head_bias are of a tied head")
        return self
