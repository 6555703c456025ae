"""T5 (Raffel and others 2020, arXiv:1910.10683), its version 1.1 and FLAN-T5 (arXiv:2210.11416)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from malmoi.formats.families.decoding import express_decoding, understand_decoding, unsupported_decoding
from malmoi.formats.family import Family, Fields
from malmoi.models.seq2seq_config import EncoderDecoderConfig

TABLE = {
    "shared.weight": "embedding.weight",
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": "encoder.relative_positions.weight",
    "encoder.block.{}.layer.0.layer_norm.weight": "encoder.blocks.{}.attention_norm.weight",
    "encoder.block.{}.layer.0.SelfAttention.q.weight": "encoder.blocks.{}.attention.query.weight",
    "encoder.block.{}.layer.0.SelfAttention.k.weight": "encoder.blocks.{}.attention.key.weight",
    "encoder.block.{}.layer.0.SelfAttention.v.weight": "encoder.blocks.{}.attention.value.weight",
    "encoder.block.{}.layer.0.SelfAttention.o.weight": "encoder.blocks.{}.attention.output.weight",
    "encoder.block.{}.layer.1.layer_norm.weight": "encoder.blocks.{}.feed_forward_norm.weight",
    "encoder.block.{}.layer.1.DenseReluDense.wi.weight": "encoder.blocks.{}.feed_forward.up.weight",
    "encoder.block.{}.layer.1.DenseReluDense.wo.weight": "encoder.blocks.{}.feed_forward.down.weight",
    "encoder.final_layer_norm.weight": "encoder.norm.weight",
    "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": "decoder.relative_positions.weight",
    "decoder.block.{}.layer.0.layer_norm.weight": "decoder.blocks.{}.attention_norm.weight",
    "decoder.block.{}.layer.0.SelfAttention.q.weight": "decoder.blocks.{}.attention.query.weight",
    "decoder.block.{}.layer.0.SelfAttention.k.weight": "decoder.blocks.{}.attention.key.weight",
    "decoder.block.{}.layer.0.SelfAttention.v.weight": "decoder.blocks.{}.attention.value.weight",
    "decoder.block.{}.layer.0.SelfAttention.o.weight": "decoder.blocks.{}.attention.output.weight",
    "decoder.block.{}.layer.1.layer_norm.weight": "decoder.blocks.{}.cross_attention_norm.weight",
    "decoder.block.{}.layer.1.EncDecAttention.q.weight": "decoder.blocks.{}.cross_attention.query.weight",
    "decoder.block.{}.layer.1.EncDecAttention.k.weight": "decoder.blocks.{}.cross_attention.key.weight",
    "decoder.block.{}.layer.1.EncDecAttention.v.weight": "decoder.blocks.{}.cross_attention.value.weight",
    "decoder.block.{}.layer.1.EncDecAttention.o.weight": "decoder.blocks.{}.cross_attention.output.weight",
    "decoder.block.{}.layer.2.layer_norm.weight": "decoder.blocks.{}.feed_forward_norm.weight",
    "decoder.block.{}.layer.2.DenseReluDense.wi.weight": "decoder.blocks.{}.feed_forward.up.weight",
    "decoder.block.{}.layer.2.DenseReluDense.wo.weight": "decoder.blocks.{}.feed_forward.down.weight",
    "decoder.final_layer_norm.weight": "decoder.norm.weight",
    "lm_head.weight": "head.weight",
}

GATED_TABLE = {
    "encoder.block.{}.layer.1.DenseReluDense.wi_0.weight": "encoder.blocks.{}.feed_forward.gate.weight",
    "encoder.block.{}.layer.1.DenseReluDense.wi_1.weight": "encoder.blocks.{}.feed_forward.up.weight",
    "decoder.block.{}.layer.2.DenseReluDense.wi_0.weight": "decoder.blocks.{}.feed_forward.gate.weight",
    "decoder.block.{}.layer.2.DenseReluDense.wi_1.weight": "decoder.blocks.{}.feed_forward.up.weight",
}

_ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_tanh": "gelu_new",
    "silu": "silu",
    "geglu_tanh": "gated-gelu",
    "swiglu": "gated-silu",
}
_SHAPE = {
    "norm": "rms",
    "norm_first": True,
    "positions": "relative",
    "bias": False,
    "scaled_attention": False,
    "scaled_embedding": False,
    "head_bias": False,
}
"""What every T5 has."""


def _understand(fields: Fields, names: Collection[str]) -> dict[str, Any]:
    activation = fields.get("feed_forward_proj", "relu")
    # The first T5 shares the embedding with its head and scales before it; version 1.1 scales nothing. Newer files say
    # tie_word_embeddings: true of both, so that the tensors tell whether 1.1 has a head of its own.
    scaled = fields.get("scale_decoder_outputs", fields.get("tie_word_embeddings", True))
    return {
        **_SHAPE,
        **understand_decoding({"pad_token_id": 0, **fields}),
        "vocabulary": fields["vocab_size"],
        "context": fields.get("n_positions", 512),
        "width": fields["d_model"],
        "layers": fields["num_layers"],
        "decoder_layers": fields.get("num_decoder_layers") or 0,
        "heads": fields["num_heads"],
        "head_width": fields["d_kv"],
        "feed_forward": fields["d_ff"],
        "activation": {theirs: ours for ours, theirs in _ACTIVATIONS.items()}.get(activation, activation),
        "norm_epsilon": fields.get("layer_norm_epsilon", 1e-6),
        "relative_buckets": fields.get("relative_attention_num_buckets", 32),
        "relative_reach": fields.get("relative_attention_max_distance", 128),
        "tied": scaled or "lm_head.weight" not in names,
        "scaled_head": scaled,
        "dropout": fields.get("dropout_rate", 0.0),
    }


def _express(config: EncoderDecoderConfig) -> dict[str, Any] | None:
    if any(getattr(config, name) != value for name, value in _SHAPE.items()):
        return None
    return {
        **express_decoding(config),
        "vocab_size": config.vocabulary,
        "n_positions": config.context,
        "d_model": config.width,
        "num_layers": config.layers,
        "num_decoder_layers": config.decoder_layers,
        "num_heads": config.heads,
        "d_kv": config.head_width,
        "d_ff": config.feed_forward,
        "feed_forward_proj": _ACTIVATIONS[config.activation],
        "layer_norm_epsilon": config.norm_epsilon,
        "relative_attention_num_buckets": config.relative_buckets,
        "relative_attention_max_distance": config.relative_reach,
        "tie_word_embeddings": config.tied,
        "scale_decoder_outputs": config.scaled_head,
        "dropout_rate": config.dropout,
    }


def _unsupported(fields: Fields) -> dict[str, object]:
    classes = [name for name in fields.get("architectures") or [] if str(name).endswith("Classification")]
    return {**unsupported_decoding(fields), "a head of classes": classes}


T5 = Family(
    "t5",
    EncoderDecoderConfig,
    TABLE,
    _understand,
    _express,
    name="T5",
    words="T5ForConditionalGeneration",
    prefix="",
    unsupported=_unsupported,
    classes_table=None,
    gated_table=GATED_TABLE,
    tied=("lm_head.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"),
    unused=("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.",),
)
