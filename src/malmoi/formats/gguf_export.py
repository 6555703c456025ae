"""Models to GGUF files, which llama.cpp and Ollama run."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy
import torch
from gguf.constants import GGML_QUANT_SIZES, GGML_QUANT_VERSION, GGMLQuantizationType, LlamaFileType
from gguf.gguf_writer import GGUFWriter
from gguf.quants import quantize

from malmoi.core.console import progress
from malmoi.core.errors import UserError, nearest
from malmoi.core.files import atomic_file
from malmoi.formats.family import Line, lines
from malmoi.formats.fill import joined
from malmoi.formats.gguf import INTERLEAVED
from malmoi.formats.gguf_names import GGUF_TABLES
from malmoi.formats.gguf_rotary import DIVISORS, add_scaling, can_be_read_back, divisors
from malmoi.formats.gguf_tokenizer import add_tokenizer
from malmoi.formats.registry import family_of
from malmoi.layers.compressed import compressed_layers, plain
from malmoi.layers.low_rank import merged_state
from malmoi.layers.matrices.int4 import Int4Matrix
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.language_model import LanguageModel, LanguageModelConfig
from malmoi.models.model import ModelConfig
from malmoi.models.registry import family_name
from malmoi.tokenizers.tokenizer import Tokenizer

TYPES = {
    "f32": LlamaFileType.ALL_F32,
    "f16": LlamaFileType.MOSTLY_F16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
    "q4_0": LlamaFileType.MOSTLY_Q4_0,
    "q4_1": LlamaFileType.MOSTLY_Q4_1,
}
"""Name of the type of the matrices to that of the whole file."""
_OUTER = ("token_embd.weight", "output.weight")
_POSITIONS = "position_embd.weight"
_LARGEST = 65_504.0
"""Of float16, in which the scales of quantised blocks are stored too."""
_CHUNK = 1 << 22
"""Numbers turned into another type at once."""


def export_gguf(
    model: LanguageModel, tokenizer: Tokenizer, path: Path, type_name: str = "f16", licence: str = ""
) -> None:
    """Write a model with its tokenizer and chat template as one GGUF file, which appears whole or not at all.

    Matrices get the type asked for, as llama-quantize chooses it: vectors and learned positions stay float32, matrices
    whose rows are not whole blocks of 32 become float16. With four bits the embedding and the head are Q8_0,
    where llama-quantize takes Q6_K, which the gguf package cannot make. "q4_1" takes the codes of malmoi's int4 in
    groups of 32 as they are, those of embedding and head too. A few rows are converted at a time.

    Args:
        path: a file that stood there before is replaced.
        type_name: one of `TYPES`.
        licence: the model's, where it is stated.

    Raises:
        UserError: as `check_export`; llama.cpp does not have such a tokenizer; a number is too large for the type; the
            disk is full.
    """
    config = model.config
    check_export(config, path, type_name)
    assert isinstance(config, GPTConfig)  # check_export has seen to it
    state = merged_state(plain(model))
    family = family_of(config, state)
    assert family is not None  # and to this
    architecture = family.model_type
    writer = GGUFWriter(None, architecture)
    writer.add_type("model")
    writer.add_name(path.stem)
    if licence:
        writer.add_license(licence)
    writer.add_file_type(TYPES[type_name])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    _add_shape(writer, config)
    add_tokenizer(writer, tokenizer, config.vocabulary)
    plan = lines(GGUF_TABLES[architecture], config.layers, state)
    if config.rotary_scaling is not None and config.rotary_scaling.kind == "llama3":
        state["divisors"] = divisors(config.rotary_scaling, config.head_width, config.rotary_base)
        plan.append(Line(DIVISORS, ("divisors",)))
    held = _held_so(model) if type_name == "q4_1" else {}
    kinds = _add_tensors(writer, plan, state, GGMLQuantizationType[type_name.upper()], held)
    with (
        atomic_file(path, "wb") as file,
        progress(f"Writing {path.name}", sum(map(torch.numel, state.values()))) as advance,
    ):
        writer.write_header_to_file(Path(file.name))
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        file.seek(0, os.SEEK_END)
        for line in plan:
            file.write(bytes(-file.tell() % writer.data_alignment))
            if kinds[line.theirs] == GGMLQuantizationType.Q4_1 and held.keys() >= set(line.ours):
                blocks = joined(line, {name: _blocks(held[name]) for name in line.ours})
                file.write(_reordered(blocks, line.theirs, config, architecture).contiguous().numpy())
                advance(sum(state[name].numel() for name in line.ours))
                continue
            for rows in _chunks(_reordered(joined(line, state), line.theirs, config, architecture)):
                file.write(_converted(rows, kinds[line.theirs], line.theirs))
                advance(rows.size)
        file.write(bytes(-file.tell() % writer.data_alignment))


def check_export(config: ModelConfig, path: Path, type_name: str) -> None:
    """Refuse what `export_gguf` cannot do, before any weight is read.

    Raises:
        UserError: it is no language model, llama.cpp has no such model (names the settings that prevent it), the type
            is unknown, or `path` is no name for a GGUF file.
    """
    if type_name not in TYPES:
        raise UserError(f"There is no type {type_name!r}.", nearest(type_name, TYPES) or f"Known: {', '.join(TYPES)}.")
    if path.is_dir() or path.suffix != ".gguf":
        raise UserError(f"{path} is no name for a GGUF file.", "Take one that ends in .gguf.")
    if isinstance(config, LanguageModelConfig) and not isinstance(config, GPTConfig):
        raise UserError(
            f"llama.cpp has no model like malmoi's family {family_name(config)}.",
            "A GPT goes to GGUF; malmoi itself runs this one: malmoi serve, malmoi generate.",
        )
    if not isinstance(config, GPTConfig):
        raise UserError("Only language models go to GGUF.", "An encoder or a classifier goes to ONNX: --to onnx")
    preventing = preventing_settings(config)
    if preventing:
        raise UserError(
            f"No architecture of llama.cpp computes what this model does: {', '.join(preventing)}.",
            "It runs models of the shapes of Llama, Qwen2, Qwen3 and GPT-2; malmoi itself runs this one.",
        )


def preventing_settings(config: GPTConfig) -> list[str]:
    """Settings, as "name=value", that make `config` none of the four shapes; empty where it is one of them."""
    wanted: dict[str, tuple[object, ...]] = {
        "short_convolution": (0,),
        "bigram_buckets": (0,),
        "reversible": (False,),
        "attention": (["full"],),
        "rotary_scaling": () if not can_be_read_back(config) else (config.model_dump()["rotary_scaling"],),
    }
    shared_width = {"head_width": (config.width / config.heads,)}
    if config.positions == "learned":  # GPT-2
        wanted |= {
            "norm": ("layer",),
            "activation": ("gelu_tanh",),
            "bias": (True,),
            "attention_bias": (None, True),
            "query_key_norm": (False,),
            "key_value_heads": (config.heads,),
            **shared_width,
        }
    else:
        wanted |= {"norm": ("rms",), "activation": ("swiglu",)}
        if config.bias:  # Llama with biases everywhere
            wanted |= {"attention_bias": (None, True), "query_key_norm": (False,)}
        elif config.query_key_norm:  # Qwen3
            wanted |= {"attention_bias": (None, False)}
        elif config.attention_bias:  # Qwen2
            wanted |= shared_width
    values = config.model_dump()
    found = [f"{name}={values[name]}" for name, allowed in wanted.items() if values[name] not in allowed]
    return ["positions=learned", *found] if found and config.positions == "learned" else found


def _add_shape(writer: GGUFWriter, config: GPTConfig) -> None:
    """The metadata by which llama.cpp builds the model."""
    writer.add_vocab_size(config.vocabulary)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.feed_forward)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.key_value_heads)
    if config.positions == "learned":
        writer.add_layer_norm_eps(config.norm_epsilon)
        return
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_key_length(config.head_width)
    writer.add_value_length(config.head_width)
    writer.add_rope_dimension_count(config.head_width)
    writer.add_rope_freq_base(config.rotary_base)
    add_scaling(writer, config)


def _add_tensors(
    writer: GGUFWriter,
    plan: list[Line],
    state: dict[str, torch.Tensor],
    wanted: GGMLQuantizationType,
    held: Collection[str],
) -> dict[str, GGMLQuantizationType]:
    """Announce every tensor; gives the type of each. Those in `held` are of the wanted type already."""
    shapeless = {name: tensor.to("meta") for name, tensor in state.items()}
    kinds = {}
    for line in plan:
        shape = joined(line, shapeless).shape
        kind = kinds[line.theirs] = _type_of(line.theirs, shape, wanted, held=set(line.ours) <= set(held))
        block, size = GGML_QUANT_SIZES[kind]
        writer.add_tensor_info(line.theirs, shape, numpy.dtype(numpy.float32), shape.numel() // block * size, kind)
    return kinds


def _type_of(name: str, shape: torch.Size, wanted: GGMLQuantizationType, *, held: bool) -> GGMLQuantizationType:
    if len(shape) < 2 or name == _POSITIONS:
        return GGMLQuantizationType.F32
    if wanted in (GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q4_1) and name in _OUTER and not held:
        wanted = GGMLQuantizationType.Q8_0
    block, _ = GGML_QUANT_SIZES[wanted]
    return GGMLQuantizationType.F16 if shape[-1] % block else wanted


def _reordered(tensor: torch.Tensor, name: str, config: GPTConfig, architecture: str) -> torch.Tensor:
    """Rows of query and key in ggml's order of rotary pairs, where the architecture has that."""
    if architecture == INTERLEAVED and ".attn_q." in name:
        return _neighbours(tensor, config.heads)
    if architecture == INTERLEAVED and ".attn_k." in name:
        return _neighbours(tensor, config.key_value_heads)
    return tensor


def _neighbours(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Put the rows of each head from the order of two halves into the order of neighbouring pairs."""
    return rows.view(heads, 2, rows.shape[0] // heads // 2, -1).transpose(1, 2).reshape(rows.shape)


def _held_so(model: LanguageModel) -> dict[str, Int4Matrix]:
    """Name of a weight to its matrix, of those that are held as blocks of the type Q4_1 already."""
    matrices = {f"{name}.weight": layer.matrix for name, layer in compressed_layers(model).items()}
    block, _ = GGML_QUANT_SIZES[GGMLQuantizationType.Q4_1]
    return {
        name: matrix
        for name, matrix in matrices.items()
        if isinstance(matrix, Int4Matrix) and matrix.settings.group == block
    }


def _blocks(matrix: Int4Matrix) -> torch.Tensor:
    """(outputs, bytes of a row) uint8: for each group its scale, its least number, and two codes a byte."""
    codes = matrix.unpacked().view(*matrix.scale.shape, -1)
    low, high = codes.chunk(2, dim=-1)
    ends = [one.detach()[..., None].contiguous().view(torch.uint8) for one in (matrix.scale, matrix.least)]
    return torch.cat([*ends, low | (high << 4)], -1).flatten(1)


def _chunks(tensor: torch.Tensor) -> Iterator[numpy.ndarray]:
    """A few float32 rows at a time, so that a large embedding takes little memory beside itself."""
    step = max(1, _CHUNK // math.prod(tensor.shape[1:]))
    for start in range(0, len(tensor), step):
        yield tensor[start : start + step].detach().float().numpy()


def _converted(rows: numpy.ndarray, kind: GGMLQuantizationType, name: str) -> numpy.ndarray:
    if kind != GGMLQuantizationType.F32 and not numpy.abs(rows).max() <= _LARGEST:
        raise UserError(f"The tensor {name} holds numbers beyond {_LARGEST:,.0f}.", "Export it with --type f32.")
    with numpy.errstate(all="ignore"):
        return numpy.ascontiguousarray(quantize(rows, kind))
