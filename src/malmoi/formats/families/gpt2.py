"""GPT-2 (Radford and others 2019)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from malmoi.formats.family import Family, Fields
from malmoi.layers.schedule import EVERYTHING
from malmoi.models.gpt_config import GPTConfig

TABLE = {
    "transformer.wte.weight": "embedding.weight",
    "transformer.wpe.weight": "positions.weight",
    "transformer.h.{}.ln_1.weight": "blocks.{}.attention_norm.weight",
    "transformer.h.{}.ln_1.bias": "blocks.{}.attention_norm.bias",
    "transformer.h.{}.attn.c_attn.weight": (
        "T blocks.{}.attention.query.weight blocks.{}.attention.key.weight blocks.{}.attention.value.weight"
    ),
    "transformer.h.{}.attn.c_attn.bias": (
        "blocks.{}.attention.query.bias blocks.{}.attention.key.bias blocks.{}.attention.value.bias"
    ),
    "transformer.h.{}.attn.c_proj.weight": "T blocks.{}.attention.output.weight",
    "transformer.h.{}.attn.c_proj.bias": "blocks.{}.attention.output.bias",
    "transformer.h.{}.ln_2.weight": "blocks.{}.feed_forward_norm.weight",
    "transformer.h.{}.ln_2.bias": "blocks.{}.feed_forward_norm.bias",
    "transformer.h.{}.mlp.c_fc.weight": "T blocks.{}.feed_forward.up.weight",
    "transformer.h.{}.mlp.c_fc.bias": "blocks.{}.feed_forward.up.bias",
    "transformer.h.{}.mlp.c_proj.weight": "T blocks.{}.feed_forward.down.weight",
    "transformer.h.{}.mlp.c_proj.bias": "blocks.{}.feed_forward.down.bias",
    "transformer.ln_f.weight": "norm.weight",
    "transformer.ln_f.bias": "norm.bias",
    "lm_head.weight": "head.weight",
}

_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu2": "relu2"}


def _understand(fields: Fields, _: Collection[str]) -> dict[str, Any]:
    theirs = fields.get("activation_function", "gelu_new")
    activations = {value: key for key, value in _ACTIVATIONS.items()}
    return {
        "vocabulary": fields["vocab_size"],
        "context": fields["n_positions"],
        "width": fields["n_embd"],
        "layers": fields["n_layer"],
        "heads": fields["n_head"],
        "feed_forward": fields.get("n_inner") or 0,
        "norm": "layer",
        "norm_epsilon": fields.get("layer_norm_epsilon", 1e-5),
        "positions": "learned",
        "activation": activations.get(theirs, theirs),
        "bias": True,
        "query_key_norm": False,
        "tied": fields.get("tie_word_embeddings", True),
        "dropout": fields.get("resid_pdrop", 0.0),
    }


def _express(config: GPTConfig) -> dict[str, Any] | None:
    plain_heads = config.key_value_heads == config.heads and config.head_width * config.heads == config.width
    shape = (config.norm, config.positions, config.bias, config.input_bias, config.query_key_norm, config.attention)
    wanted = ("layer", "learned", True, True, False, (EVERYTHING,))
    if config.reversible or not plain_heads or shape != wanted or config.activation not in _ACTIVATIONS:
        return None
    return {
        "vocab_size": config.vocabulary,
        "n_positions": config.context,
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.feed_forward,
        "layer_norm_epsilon": config.norm_epsilon,
        "activation_function": _ACTIVATIONS[config.activation],
        "tie_word_embeddings": config.tied,
        **dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), config.dropout),
    }


def _unsupported(fields: Fields) -> dict[str, object]:
    return {
        "unscaled attention": not fields.get("scale_attn_weights", True),
        "attention scaled by layer": fields.get("scale_attn_by_inverse_layer_idx", False),
        "cross-attention": fields.get("add_cross_attention", False),
    }


GPT2 = Family(
    "gpt2",
    GPTConfig,
    TABLE,
    _understand,
    _express,
    name="GPT2",
    words="GPT2LMHeadModel",
    prefix="transformer.",
    unsupported=_unsupported,
)
