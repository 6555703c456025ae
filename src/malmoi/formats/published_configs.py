"""Our configuration in the words of transformers' config.json, and the other way round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from malmoi.core.config import parse_settings
from malmoi.core.errors import UserError
from malmoi.models.gpt_config import GPTConfig

ARCHITECTURES = {"qwen3": "Qwen3", "qwen2": "Qwen2", "llama": "Llama", "gpt2": "GPT2"}
"""`model_type` to the first part of the names of its classes."""

_GPT2_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu2": "relu2"}


def express(config: GPTConfig) -> dict[str, Any]:
    """Fields of transformers' config.json; `model_type` is "malmoi", with our own fields, where there is none."""
    model_type = _model_type(config)
    if model_type == "malmoi":
        return {"model_type": model_type, **config.model_dump()}
    if model_type == "gpt2":
        return {
            "model_type": model_type,
            "vocab_size": config.vocabulary,
            "n_positions": config.context,
            "n_embd": config.width,
            "n_layer": config.layers,
            "n_head": config.heads,
            "n_inner": config.feed_forward,
            "layer_norm_epsilon": config.norm_epsilon,
            "activation_function": _GPT2_ACTIVATIONS[config.activation],
            "tie_word_embeddings": config.tied,
            **dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), config.dropout),
        }
    return {
        "model_type": model_type,
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
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rotary_base},
        "tie_word_embeddings": config.tied,
        "attention_dropout": config.dropout,
        "attention_bias": config.bias,
        **({"mlp_bias": config.bias} if model_type == "llama" else {}),
        **({"use_sliding_window": False, "max_window_layers": config.layers} if "qwen" in model_type else {}),
    }


def _model_type(config: GPTConfig) -> str:
    """The published family that can express `config`; "malmoi" where none can."""
    input_bias = config.bias if config.attention_bias is None else config.attention_bias
    if config.short_convolution or config.bigram_buckets:
        return "malmoi"
    if (config.norm, config.positions, config.activation) == ("rms", "rotary", "swiglu"):
        kinds = {
            (True, False, False): "qwen3",
            (False, False, True): "qwen2",
            (False, False, False): "llama",
            (False, True, True): "llama",
        }
        return kinds.get((config.query_key_norm, config.bias, input_bias), "malmoi")
    plain_heads = config.key_value_heads == config.heads and config.head_width * config.heads == config.width
    shape = (config.norm, config.positions, config.bias, input_bias, config.query_key_norm)
    if plain_heads and shape == ("layer", "learned", True, True, False) and config.activation in _GPT2_ACTIVATIONS:
        return "gpt2"
    return "malmoi"


def understand(fields: Mapping[str, Any], where: str) -> GPTConfig:
    """The configuration that a config.json describes.

    Args:
        where: the file, for messages.

    Raises:
        UserError: a family or a feature that is not supported, or a field that is missing or wrong.
    """
    model_type = fields.get("model_type")
    if model_type == "malmoi":
        return parse_settings(
            GPTConfig, {name: fields[name] for name in GPTConfig.model_fields if name in fields}, where
        )
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        known = ", ".join([*ARCHITECTURES, "malmoi"])
        raise UserError(f"{where} is of model_type {model_type!r}, which malmoi does not know.", f"Known: {known}.")
    _refuse_unsupported(fields, where)
    read = _gpt2 if model_type == "gpt2" else _llama
    try:
        values = read(fields)
    except KeyError as error:
        raise UserError(f"{where} has no field {error.args[0]!r}.", "The file is not whole: get it again.") from None
    return parse_settings(GPTConfig, values, where)


def _gpt2(fields: Mapping[str, Any]) -> dict[str, Any]:
    theirs = fields.get("activation_function", "gelu_new")
    activations = {value: key for key, value in _GPT2_ACTIVATIONS.items()}
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


def _llama(fields: Mapping[str, Any]) -> dict[str, Any]:
    kind = fields["model_type"]
    rope = fields.get("rope_parameters") or {}
    biased = bool(fields.get("attention_bias", False))
    return {
        "vocabulary": fields["vocab_size"],
        "context": fields["max_position_embeddings"],
        "width": fields["hidden_size"],
        "layers": fields["num_hidden_layers"],
        "heads": fields["num_attention_heads"],
        "key_value_heads": fields.get("num_key_value_heads") or 0,
        "head_width": fields.get("head_dim") or (128 if kind == "qwen3" else 0),
        "feed_forward": fields["intermediate_size"],
        "norm_epsilon": fields.get("rms_norm_eps", 1e-6),
        "rotary_base": rope.get("rope_theta") or fields.get("rope_theta") or 10_000.0,
        "bias": kind == "llama" and biased,
        "attention_bias": True if kind == "qwen2" else None,
        "query_key_norm": kind == "qwen3",
        "tied": fields.get("tie_word_embeddings", False),
        "dropout": fields.get("attention_dropout", 0.0),
    }


def _refuse_unsupported(fields: Mapping[str, Any], where: str) -> None:
    """A feature that would change the result must not be read over."""
    rope = fields.get("rope_parameters") or fields.get("rope_scaling") or {}
    llama = fields["model_type"] == "llama"
    unsupported = {
        "scaled rotary positions": rope.get("rope_type", rope.get("type", "default")) != "default",
        "partial rotary positions": rope.get("partial_rotary_factor", 1.0) != 1.0,
        "a sliding window": fields.get("use_sliding_window", False) and fields.get("sliding_window"),
        "an activation other than SiLU": fields.get("hidden_act", "silu") != "silu",
        "attention biases beside these feed-forward biases": (
            llama and bool(fields.get("mlp_bias", False)) != bool(fields.get("attention_bias", False))
        ),
        "attention biases": fields["model_type"] == "qwen3" and fields.get("attention_bias", False),
        "quantised weights": fields.get("quantization_config"),
        "unscaled attention": not fields.get("scale_attn_weights", True),
        "attention scaled by layer": fields.get("scale_attn_by_inverse_layer_idx", False),
        "cross-attention": fields.get("add_cross_attention", False),
    }
    for feature, present in unsupported.items():
        if present:
            raise UserError(f"{where} asks for {feature}, which malmoi does not have.", "Take another checkpoint.")
