"""Marian, the translators of Helsinki-NLP (Tiedemann and Thottingal 2020, OPUS-MT; Junczys-Dowmunt and others 2018)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from malmoi.formats.families.decoding import express_decoding, understand_decoding, unsupported_decoding
from malmoi.formats.family import Family, Fields
from malmoi.models.seq2seq_config import EncoderDecoderConfig

_WITH_BIAS = {
    "model.encoder.layers.{}.self_attn.q_proj": "encoder.blocks.{}.attention.query",
    "model.encoder.layers.{}.self_attn.k_proj": "encoder.blocks.{}.attention.key",
    "model.encoder.layers.{}.self_attn.v_proj": "encoder.blocks.{}.attention.value",
    "model.encoder.layers.{}.self_attn.out_proj": "encoder.blocks.{}.attention.output",
    "model.encoder.layers.{}.self_attn_layer_norm": "encoder.blocks.{}.attention_norm",
    "model.encoder.layers.{}.fc1": "encoder.blocks.{}.feed_forward.up",
    "model.encoder.layers.{}.fc2": "encoder.blocks.{}.feed_forward.down",
    "model.encoder.layers.{}.final_layer_norm": "encoder.blocks.{}.feed_forward_norm",
    "model.decoder.layers.{}.self_attn.q_proj": "decoder.blocks.{}.attention.query",
    "model.decoder.layers.{}.self_attn.k_proj": "decoder.blocks.{}.attention.key",
    "model.decoder.layers.{}.self_attn.v_proj": "decoder.blocks.{}.attention.value",
    "model.decoder.layers.{}.self_attn.out_proj": "decoder.blocks.{}.attention.output",
    "model.decoder.layers.{}.self_attn_layer_norm": "decoder.blocks.{}.attention_norm",
    "model.decoder.layers.{}.encoder_attn.q_proj": "decoder.blocks.{}.cross_attention.query",
    "model.decoder.layers.{}.encoder_attn.k_proj": "decoder.blocks.{}.cross_attention.key",
    "model.decoder.layers.{}.encoder_attn.v_proj": "decoder.blocks.{}.cross_attention.value",
    "model.decoder.layers.{}.encoder_attn.out_proj": "decoder.blocks.{}.cross_attention.output",
    "model.decoder.layers.{}.encoder_attn_layer_norm": "decoder.blocks.{}.cross_attention_norm",
    "model.decoder.layers.{}.fc1": "decoder.blocks.{}.feed_forward.up",
    "model.decoder.layers.{}.fc2": "decoder.blocks.{}.feed_forward.down",
    "model.decoder.layers.{}.final_layer_norm": "decoder.blocks.{}.feed_forward_norm",
}
"""What has a weight and a bias."""

TABLE = {
    "model.shared.weight": "embedding.weight",
    "final_logits_bias": "head.bias",
    **{f"{theirs}.{part}": f"{ours}.{part}" for theirs, ours in _WITH_BIAS.items() for part in ("weight", "bias")},
}

_ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "gelu_tanh": "gelu_new", "silu": "swish"}
_OTHER_WORDS = {"silu": "silu", "gelu_pytorch_tanh": "gelu_tanh"} | {
    theirs: ours for ours, theirs in _ACTIVATIONS.items()
}
_SHAPE = {
    "norm": "layer",
    "norm_epsilon": 1e-5,
    "norm_first": False,
    "positions": "sinusoidal",
    "bias": True,
    "scaled_attention": True,
    "tied": True,
    "scaled_head": False,
}
"""What every Marian has."""


def _understand(fields: Fields, names: Collection[str]) -> dict[str, Any]:
    activation = fields.get("activation_function", "gelu")
    return {
        **_SHAPE,
        **understand_decoding(fields),
        "vocabulary": fields["vocab_size"],
        "context": fields["max_position_embeddings"],
        "width": fields["d_model"],
        "layers": fields["encoder_layers"],
        "decoder_layers": fields["decoder_layers"],
        "heads": fields["encoder_attention_heads"],
        "feed_forward": fields["encoder_ffn_dim"],
        "activation": _OTHER_WORDS.get(activation, activation),
        "scaled_embedding": fields.get("scale_embedding", False),
        "head_bias": "final_logits_bias" in names,
        "dropout": fields.get("dropout", 0.0),
    }


def _express(config: EncoderDecoderConfig) -> dict[str, Any] | None:
    same = all(getattr(config, name) == value for name, value in _SHAPE.items())
    if not same or config.activation not in _ACTIVATIONS or config.head_width * config.heads != config.width:
        return None
    return {
        **express_decoding(config),
        "vocab_size": config.vocabulary,
        "max_position_embeddings": config.context,
        "d_model": config.width,
        "encoder_layers": config.layers,
        "decoder_layers": config.decoder_layers,
        "encoder_attention_heads": config.heads,
        "decoder_attention_heads": config.heads,
        "encoder_ffn_dim": config.feed_forward,
        "decoder_ffn_dim": config.feed_forward,
        "activation_function": _ACTIVATIONS[config.activation],
        "scale_embedding": config.scaled_embedding,
        "share_encoder_decoder_embeddings": True,
        "tie_word_embeddings": True,
        "forced_eos_token_id": None,
        "dropout": config.dropout,
        "attention_dropout": config.dropout,
    }


def _unsupported(fields: Fields) -> dict[str, object]:
    unequal = ("attention_heads", "ffn_dim")
    return {
        **unsupported_decoding(fields),
        "different widths in encoder and decoder": any(
            fields[f"encoder_{name}"] != fields[f"decoder_{name}"] for name in unequal
        ),
        "a second vocabulary for the target": (
            not fields.get("share_encoder_decoder_embeddings", True)
            or (fields.get("decoder_vocab_size") or fields["vocab_size"]) != fields["vocab_size"]
        ),
        "a head that does not share the embedding": not fields.get("tie_word_embeddings", True),
    }


MARIAN = Family(
    "marian",
    EncoderDecoderConfig,
    TABLE,
    _understand,
    _express,
    name="Marian",
    words="MarianMTModel",
    prefix="model.",
    unsupported=_unsupported,
    classes_table=None,
    tied=("lm_head.weight", *(f"{body}{part}coder.embed_tokens." for body in ("", "model.") for part in ("en", "de"))),
    unused=tuple(f"{body}{part}coder.embed_positions." for body in ("", "model.") for part in ("en", "de")),
)
