"""Llama and those that changed it little: Mistral, Qwen2, Qwen3."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from malmoi.formats.family import Family, Fields
from malmoi.layers.rotary import RotaryScaling
from malmoi.models.gpt_config import GPTConfig

TABLE = {
    "model.embed_tokens.weight": "embedding.weight",
    "model.layers.{}.input_layernorm.weight": "blocks.{}.attention_norm.weight",
    "model.layers.{}.self_attn.q_proj.weight": "blocks.{}.attention.query.weight",
    "model.layers.{}.self_attn.q_proj.bias": "blocks.{}.attention.query.bias",
    "model.layers.{}.self_attn.k_proj.weight": "blocks.{}.attention.key.weight",
    "model.layers.{}.self_attn.k_proj.bias": "blocks.{}.attention.key.bias",
    "model.layers.{}.self_attn.v_proj.weight": "blocks.{}.attention.value.weight",
    "model.layers.{}.self_attn.v_proj.bias": "blocks.{}.attention.value.bias",
    "model.layers.{}.self_attn.q_norm.weight": "blocks.{}.attention.query_norm.weight",
    "model.layers.{}.self_attn.k_norm.weight": "blocks.{}.attention.key_norm.weight",
    "model.layers.{}.self_attn.o_proj.weight": "blocks.{}.attention.output.weight",
    "model.layers.{}.self_attn.o_proj.bias": "blocks.{}.attention.output.bias",
    "model.layers.{}.post_attention_layernorm.weight": "blocks.{}.feed_forward_norm.weight",
    "model.layers.{}.mlp.gate_proj.weight": "blocks.{}.feed_forward.gate.weight",
    "model.layers.{}.mlp.gate_proj.bias": "blocks.{}.feed_forward.gate.bias",
    "model.layers.{}.mlp.up_proj.weight": "blocks.{}.feed_forward.up.weight",
    "model.layers.{}.mlp.up_proj.bias": "blocks.{}.feed_forward.up.bias",
    "model.layers.{}.mlp.down_proj.weight": "blocks.{}.feed_forward.down.weight",
    "model.layers.{}.mlp.down_proj.bias": "blocks.{}.feed_forward.down.bias",
    "model.norm.weight": "norm.weight",
    "lm_head.weight": "head.weight",
}

_SCALING = {
    "factor": "factor",
    "low_frequency_factor": "low_freq_factor",
    "high_frequency_factor": "high_freq_factor",
    "original_context": "original_max_position_embeddings",
}
"""Our names of the numbers of scaled rotary positions to theirs."""


def _understand(kind: str, fields: Fields, _: Collection[str]) -> dict[str, Any]:
    rope = _rope(fields)
    return {
        "vocabulary": fields["vocab_size"],
        "context": fields["max_position_embeddings"],
        "width": fields["hidden_size"],
        "layers": fields["num_hidden_layers"],
        "heads": fields["num_attention_heads"],
        "key_value_heads": fields.get("num_key_value_heads") or (8 if kind == "mistral" else 0),
        "head_width": fields.get("head_dim") or (128 if kind == "qwen3" else 0),
        "feed_forward": fields["intermediate_size"],
        "norm_epsilon": fields.get("rms_norm_eps", 1e-6),
        "rotary_base": rope.get("rope_theta") or fields.get("rope_theta") or 10_000.0,
        "rotary_scaling": _scaling(rope, fields),
        "window": _window(kind, fields),
        "bias": kind == "llama" and bool(fields.get("attention_bias", False)),
        "attention_bias": True if kind == "qwen2" else None,
        "query_key_norm": kind == "qwen3",
        "tied": fields.get("tie_word_embeddings", False),
        "dropout": fields.get("attention_dropout", 0.0),
    }


def _rope(fields: Fields) -> Fields:
    """What newer files say in `rope_parameters`, older ones in `rope_scaling`."""
    rope: Fields = fields.get("rope_parameters") or fields.get("rope_scaling") or {}
    return rope


def _scaling(rope: Fields, fields: Fields) -> dict[str, Any] | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    numbers = {ours: rope[theirs] for ours, theirs in _SCALING.items() if theirs in rope}
    return {"kind": kind, **numbers}


def _window(kind: str, fields: Fields) -> int:
    """Tokens that attention reaches back, itself among them; 0 for all."""
    window: int = fields.get("sliding_window") or 0
    return window if kind == "mistral" or fields.get("use_sliding_window", False) else 0


def _unsupported(kind: str, fields: Fields) -> dict[str, object]:
    rope = _rope(fields)
    scaling = rope.get("rope_type", rope.get("type", "default"))
    windowed = set(fields.get("layer_types") or ())
    return {
        f"rotary positions scaled by {scaling!r}": scaling not in ("default", *RotaryScaling.KINDS),
        "partial rotary positions": rope.get("partial_rotary_factor", 1.0) != 1.0,
        "a sliding window in some layers and not in others": (
            len(windowed) > 1
            or bool(kind != "mistral" and _window(kind, fields) and not windowed and fields.get("max_window_layers", 0))
        ),
        "an activation other than SiLU": fields.get("hidden_act", "silu") != "silu",
        "attention biases beside these feed-forward biases": (
            kind == "llama" and bool(fields.get("mlp_bias", False)) != bool(fields.get("attention_bias", False))
        ),
        "attention biases": kind == "qwen3" and fields.get("attention_bias", False),
    }


def _express(kind: str, config: GPTConfig) -> dict[str, Any] | None:
    if (config.norm, config.positions, config.activation) != ("rms", "rotary", "swiglu"):
        return None
    if _kind(config) != kind:
        return None
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rotary_base}
    if config.rotary_scaling is not None:
        numbers = config.rotary_scaling.model_dump(exclude={"kind"}, exclude_none=True)
        rope |= {"rope_type": config.rotary_scaling.kind, **{_SCALING[name]: value for name, value in numbers.items()}}
    fields: dict[str, Any] = {
        "vocab_size": config.vocabulary,
        "max_position_embeddings": config.context,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.key_value_heads,
        "head_dim": config.head_width,
        "intermediate_size": config.feed_forward,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": config.rotary_base,
        "rope_parameters": rope,
        "tie_word_embeddings": config.tied,
        "attention_dropout": config.dropout,
    }
    if kind in ("llama", "qwen3"):
        fields["attention_bias"] = config.bias
    if kind == "llama":
        fields["mlp_bias"] = config.bias
    if kind == "mistral":
        fields["sliding_window"] = config.window
    if kind in ("qwen2", "qwen3"):
        fields |= {
            "use_sliding_window": bool(config.window),
            "sliding_window": config.window or None,
            "max_window_layers": 0 if config.window else config.layers,
        }
    return fields


def _kind(config: GPTConfig) -> str:
    """The one of these families that has such norms, biases and reach, or ""."""
    if config.query_key_norm:
        return "" if config.bias or config.input_bias else "qwen3"
    if config.bias != config.input_bias:
        return "" if config.bias else "qwen2"
    if config.window:
        return "" if config.bias else "mistral"
    return "llama"


def _family(kind: str, architecture: str) -> Family:
    return Family(
        kind,
        GPTConfig,
        TABLE,
        partial(_understand, kind),
        partial(_express, kind),
        words=f"{architecture}ForCausalLM",
        classes=f"{architecture}ForSequenceClassification",
        bare=f"{architecture}Model",
        prefix="model.",
        unsupported=partial(_unsupported, kind),
    )


LLAMA = _family("llama", "Llama")
MISTRAL = _family("mistral", "Mistral")
QWEN2 = _family("qwen2", "Qwen2")
QWEN3 = _family("qwen3", "Qwen3")
