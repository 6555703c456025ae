"""Llama and those that changed it little: Mistral, Qwen2, Qwen3."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from malmoi.formats.family import Family, Fields
from malmoi.layers.mixes.registry import AUTO
from malmoi.layers.pattern import FULL
from malmoi.layers.patterns import Window
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

_NEAR, _FAR = "sliding_attention", "full_attention"
"""Their words for how a layer attends."""

_SCALING = {
    "factor": "factor",
    "low_frequency_factor": "low_freq_factor",
    "high_frequency_factor": "high_freq_factor",
    "original_context": "original_max_position_embeddings",
}
"""Our names of the numbers of scaled rotary positions to theirs."""


def _understand(kind: str, fields: Fields, names: Collection[str]) -> dict[str, Any]:
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
        "attention": _schedule(kind, fields, len(names)),
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


def _schedule(kind: str, fields: Fields, tensors: int) -> list[str]:
    """How the layers attend. A window as long as the context is none."""
    window: int = fields.get("sliding_window", 4_096 if kind == "mistral" else 0) or 0
    used = kind == "mistral" or fields.get("use_sliding_window", False)
    if not used or not 0 < window < fields["max_position_embeddings"]:
        return ["full"]
    near = f"window({window})"
    if kind == "mistral":
        return [near]
    layers = min(fields["num_hidden_layers"], tensors)  # a file that states more layers is refused elsewhere
    first = fields.get("max_window_layers", 28)
    kinds = fields.get("layer_types") or [_NEAR if layer >= first else _FAR for layer in range(layers)]
    schedule = [near if one == _NEAR else "full" for one in kinds]
    return schedule if len(set(schedule)) > 1 else schedule[:1]


def _unsupported(kind: str, fields: Fields) -> dict[str, object]:
    rope = _rope(fields)
    scaling = rope.get("rope_type", rope.get("type", "default"))
    return {
        f"rotary positions scaled by {scaling!r}": scaling not in ("default", *RotaryScaling.KINDS),
        "partial rotary positions": rope.get("partial_rotary_factor", 1.0) != 1.0,
        "layers that attend in other ways": bool(set(fields.get("layer_types") or ()) - {_NEAR, _FAR}),
        "an activation other than SiLU": fields.get("hidden_act", "silu") != "silu",
        "attention biases beside these feed-forward biases": (
            kind == "llama" and bool(fields.get("mlp_bias", False)) != bool(fields.get("attention_bias", False))
        ),
        "attention biases": kind == "qwen3" and fields.get("attention_bias", False),
    }


def _express(kind: str, config: GPTConfig) -> dict[str, Any] | None:
    if (config.norm, config.positions, config.activation) != ("rms", "rotary", "swiglu"):
        return None
    windows = _windows(config)
    if config.reversible or windows is None or _kind(config, windows) != kind:
        return None
    window = max(windows)
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
        fields["sliding_window"] = window
    if kind in ("qwen2", "qwen3"):
        fields |= {
            "use_sliding_window": bool(window),
            "sliding_window": window or None,
            "max_window_layers": 0 if window else config.layers,
            "layer_types": [_NEAR if one else _FAR for one in windows],
        }
    return fields


def _windows(config: GPTConfig) -> list[int] | None:
    """The window of each layer, 0 for none; None where a layer attends in another way, or windows differ."""
    windows = []
    for layer in map(config.layer_attention, range(config.layers)):
        pattern = layer.pattern
        if layer.mix != AUTO or not (pattern == FULL or (isinstance(pattern, Window) and pattern.dilation == 1)):
            return None
        windows.append(pattern.size if isinstance(pattern, Window) else 0)
    return windows if len({*windows} - {0}) <= 1 else None


def _kind(config: GPTConfig, windows: list[int]) -> str:
    """The one of these families that has such norms, biases and reach, or ""."""
    if config.query_key_norm:
        return "" if config.bias or config.input_bias else "qwen3"
    if config.bias != config.input_bias:
        return "" if config.bias else "qwen2"
    if any(windows):
        return "" if config.bias or not all(windows) else "mistral"
    return "llama"


def _family(kind: str, name: str) -> Family:
    return Family(
        kind,
        GPTConfig,
        TABLE,
        partial(_understand, kind),
        partial(_express, kind),
        name=name,
        words=f"{name}ForCausalLM",
        prefix="model.",
        unsupported=partial(_unsupported, kind),
    )


LLAMA = _family("llama", "Llama")
MISTRAL = _family("mistral", "Mistral")
QWEN2 = _family("qwen2", "Qwen2")
QWEN3 = _family("qwen3", "Qwen3")
