"""The configuration that gives the Qwen3, Llama and GPT-2 shapes from one definition."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from malmoi.layers.feed_forward import GATED
from malmoi.layers.patterns import CAUSAL
from malmoi.layers.rotary import RotaryScaling
from malmoi.layers.schedule import EVERYTHING, LayerAttention, Schedule, check_schedule
from malmoi.models.language_model import LanguageModelConfig


class GPTConfig(LanguageModelConfig):
    """A decoder-only transformer. The defaults are Qwen3's shape.

    Attributes:
        heads: number of query heads.
        key_value_heads: number of key and value heads, a divisor of `heads`; 0 means as many as `heads`.
        head_width: size of one head; 0 means width / heads.
        feed_forward: inner size of the feed-forward layer; 0 means 4 x width, or 8/3 x width rounded up to a
            multiple of 64 when it is gated.
        norm: "rms" (no bias) or "layer" (with bias).
        positions: "rotary" (half-split pairs) or "learned".
        rotary_scaling: how rotary positions are stretched for a long context, if they are.
        attention: how the layers attend, in turn and from the first again, such as [window(256), full]; nothing looks
            ahead whatever it says. See `malmoi attention show`.
        separator: id of the token that begins a document, which the pattern "documents" needs to know.
        activation: "swiglu" (gated), or "gelu", "gelu_tanh" (GPT-2's), "relu2" (squared ReLU).
        bias: biases in the linear layers of attention and feed-forward.
        attention_bias: biases of query, key and value alone (Qwen2); None means as `bias`.
        query_key_norm: RMSNorm on every query and key head (Qwen3).
        dropout: on embeddings, attention weights and the outputs of both sublayers.
        reversible: two streams, from whose last states training computes all others again, so that memory does not
            grow with the layers (Reformer). Not expressible in `transformers` or GGUF.
        short_convolution: width of a causal depthwise convolution before attention and before the feed-forward
            layer, 0 for none. Not expressible in `transformers` or GGUF.
        bigram_buckets: rows of a hashed table of embeddings of token pairs, 0 for none. Not expressible either.
    """

    heads: PositiveInt
    key_value_heads: NonNegativeInt = 0
    head_width: NonNegativeInt = 0
    feed_forward: NonNegativeInt = 0
    norm: Literal["rms", "layer"] = "rms"
    norm_epsilon: PositiveFloat = 1e-6
    positions: Literal["rotary", "learned"] = "rotary"
    rotary_base: PositiveFloat = 10_000.0
    rotary_scaling: RotaryScaling | None = None
    attention: Schedule = (EVERYTHING,)
    separator: NonNegativeInt | None = None
    activation: Literal["swiglu", "gelu", "gelu_tanh", "relu2"] = "swiglu"
    bias: bool = False
    attention_bias: bool | None = None
    query_key_norm: bool = True
    reversible: bool = False
    short_convolution: NonNegativeInt = 0
    bigram_buckets: NonNegativeInt = 0

    def layer_attention(self, index: int) -> LayerAttention:
        """How layer `index` attends, causality left aside."""
        return self.attention[index % len(self.attention)]

    @property
    def needs_documents(self) -> bool:
        """Whether a layer has to be told which document each token belongs to."""
        return any(layer.pattern.needs_documents for layer in self.attention)

    @property
    def input_bias(self) -> bool:
        """Whether query, key and value have biases."""
        return self.bias if self.attention_bias is None else self.attention_bias

    @property
    def mixing(self) -> list[str]:
        """See `LanguageModelConfig.mixing`: the patterns of the layers."""
        return [str(layer) for layer in self.attention]

    @classmethod
    def sized(cls, layers: int, width: int) -> dict[str, Any]:
        """See `LanguageModelConfig.sized`: heads of 64, and a head of its own."""
        return {"layers": layers, "width": width, "heads": max(1, width // 64), "tied": False}

    @model_validator(mode="before")
    @classmethod
    def _fill_derived(cls, values: dict[str, object]) -> dict[str, object]:
        """Replace the zeros that stand for "derived" by the numbers they stand for."""
        values = dict(values)
        width, heads = values.get("width"), values.get("heads")
        if isinstance(width, int) and isinstance(heads, int) and heads > 0:
            values["key_value_heads"] = values.get("key_value_heads") or heads
            values["head_width"] = values.get("head_width") or width // heads
            gated = values.get("activation", "swiglu") in GATED
            values["feed_forward"] = values.get("feed_forward") or (
                -(-width * 8 // 3 // 64) * 64 if gated else 4 * width
            )
        return values

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        if not (self.key_value_heads and self.head_width and self.feed_forward):
            raise ValueError(f"heads={self.heads} do not fit into a width of {self.width}")
        if self.heads % self.key_value_heads:
            raise ValueError(f"key_value_heads={self.key_value_heads} does not divide heads={self.heads}")
        if self.positions == "rotary" and self.head_width % 2:
            raise ValueError(f"rotary positions need an even head width, not {self.head_width}")
        if self.separator is None and self.needs_documents:
            raise ValueError("the pattern documents needs separator, the id of the token that begins a document")
        check_schedule(
            self.attention,
            CAUSAL,
            context=self.context,
            layers=self.layers,
            heads=self.heads,
            shared=self.key_value_heads,
            dropout=self.dropout,
        )
        return self
