"""Models from GGUF files, the format of llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from malmoi.core.config import parse_settings
from malmoi.core.errors import UserError
from malmoi.formats.family import lines
from malmoi.formats.fill import fill, shapes_of, stated_model
from malmoi.formats.gguf_file import GGUFFile
from malmoi.formats.gguf_names import GGUF_TABLES
from malmoi.formats.gguf_rotary import DIVISORS, read_scaling
from malmoi.formats.mismatch import check_shapes
from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.shapes import with_memory
from malmoi.tokenizers.gguf import tokenizer_from_gguf
from malmoi.tokenizers.tokenizer import Tokenizer

INTERLEAVED = "llama"
"""The architecture whose rotary pairs are neighbours (2i, 2i + 1) in the file, not (i, i + head_width / 2)."""


def load_gguf(path: Path, dtype: torch.dtype = torch.float32) -> tuple[GPT, Tokenizer]:
    """A model and its tokenizer from one file; quantised weights become `dtype`, tensor by tensor.

    Raises:
        UserError: the file is damaged, or of an architecture that is not supported.
    """
    file = GGUFFile(path)
    try:
        config = _config(file)
        stated = stated_model(config, len(file.tensors), str(path))
        shapes = shapes_of(stated)
        plan = lines(GGUF_TABLES[file.metadata["general.architecture"]], config.layers, shapes)
        check_shapes(
            plan, shapes, {name: place.shape for name, place in file.tensors.items() if name != DIVISORS}, str(path)
        )
        tokenizer = _tokenizer(file, config.vocabulary)
        model = with_memory(stated.to(dtype))
        fill(plan, dict(model.named_parameters()), lambda name: _read(file, name, config), str(path))
    finally:
        file.close()
    assert isinstance(model, GPT)
    return model.eval(), tokenizer


def read_gguf_config(path: Path) -> GPTConfig:
    """The shape of a model, from the head of its file. Raises as `load_gguf`."""
    file = GGUFFile(path)
    try:
        return _config(file)
    finally:
        file.close()


def _config(file: GGUFFile) -> GPTConfig:
    architecture = file.metadata.get("general.architecture")
    if not isinstance(architecture, str) or architecture not in GGUF_TABLES:
        known = ", ".join(GGUF_TABLES)
        raise UserError(f"{file.path} holds the architecture {architecture!r}; malmoi reads {known}.")
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None:
        raise UserError(f"{file.path} has no tensor 'token_embd.weight'.", "It is not a whole model: get it again.")
    values = {
        "vocabulary": embedding.shape[0],
        "context": _need(file, "context_length"),
        "width": _need(file, "embedding_length"),
        "layers": _need(file, "block_count"),
        "heads": _need(file, "attention.head_count"),
        "feed_forward": _need(file, "feed_forward_length"),
        "tied": "output.weight" not in file.tensors,
        **(_gpt2_values(file) if architecture == "gpt2" else _rotary_values(file)),
    }
    return parse_settings(GPTConfig, values, str(file.path))


def _gpt2_values(file: GGUFFile) -> dict[str, Any]:
    return {
        "norm": "layer",
        "norm_epsilon": _decimal(file, "attention.layer_norm_epsilon", 1e-5),
        "positions": "learned",
        "activation": "gelu_tanh",
        "bias": True,
        "query_key_norm": False,
    }


def _rotary_values(file: GGUFFile) -> dict[str, Any]:
    width, heads = _need(file, "embedding_length"), _need(file, "attention.head_count")
    head_width = _whole(file, "attention.key_length", width // heads if heads else 0)
    if _optional(file, "rope.dimension_count", head_width) != head_width:
        raise UserError(f"{file.path} asks for partial rotary positions, which malmoi does not have.")
    bias = "blk.0.ffn_down.bias" in file.tensors
    architecture, base = file.metadata["general.architecture"], _decimal(file, "rope.freq_base", 10_000.0)
    return {
        "key_value_heads": _optional(file, "attention.head_count_kv", 0),
        "head_width": head_width,
        "norm_epsilon": _decimal(file, "attention.layer_norm_rms_epsilon", 1e-6),
        "rotary_base": base,
        "rotary_scaling": read_scaling(file, architecture, head_width, base),
        "bias": bias,
        "attention_bias": True if not bias and "blk.0.attn_q.bias" in file.tensors else None,
        "query_key_norm": architecture == "qwen3",
    }


def _tokenizer(file: GGUFFile, vocabulary: int) -> Tokenizer:
    tokenizer = tokenizer_from_gguf(file.metadata, str(file.path))
    if tokenizer.size > vocabulary:
        raise UserError(f"{file.path} has a tokenizer that does not fit its model.", "Get the file again.")
    return tokenizer


def _optional(file: GGUFFile, key: str, otherwise: Any) -> Any:
    return file.metadata.get(f"{file.metadata['general.architecture']}.{key}", otherwise)


def _need(file: GGUFFile, key: str) -> int:
    return _whole(file, key, None)


def _whole(file: GGUFFile, key: str, otherwise: int | None) -> int:
    value = _optional(file, key, otherwise)
    if not isinstance(value, int):
        raise UserError(f"{file.path} has no number {key!r} for its architecture.", "Get the file again.")
    return value


def _decimal(file: GGUFFile, key: str, otherwise: float) -> float:
    """A number that the file holds as float32, in the digits that it was written with before."""
    value = _optional(file, key, otherwise)
    if not isinstance(value, int | float):
        raise UserError(f"{file.path} has no number {key!r} for its architecture.", "Get the file again.")
    return float(f"{value:.7g}")


def _read(file: GGUFFile, name: str, config: GPTConfig) -> torch.Tensor:
    tensor = file.read(name)
    if file.metadata["general.architecture"] != INTERLEAVED:
        return tensor
    if ".attn_q." in name:
        return _halves(tensor, config.heads)
    if ".attn_k." in name:
        return _halves(tensor, config.key_value_heads)
    return tensor


def _halves(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Put the rows of each head from the order of neighbouring pairs into the order of two halves."""
    return rows.view(heads, rows.shape[0] // heads // 2, 2, -1).transpose(1, 2).reshape(rows.shape)
