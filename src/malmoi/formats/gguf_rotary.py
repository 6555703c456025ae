"""Stretched rotary positions in GGUF: numbers in the header for the linear way, a tensor of divisors for Llama 3's."""

from __future__ import annotations

import math

import torch
from gguf.constants import RopeScalingType
from gguf.gguf_writer import GGUFWriter

from malmoi.core.errors import UserError
from malmoi.formats.gguf_file import GGUFFile
from malmoi.layers.rotary import RotaryScaling, frequencies
from malmoi.models.gpt_config import GPTConfig

DIVISORS = "rope_freqs.weight"
_LOW, _HIGH, _CONTEXT = 1.0, 4.0, 8_192
"""Llama 3's own numbers, which its GGUF files leave out: only the divisors that follow from them are there."""


def read_scaling(file: GGUFFile, architecture: str, head_width: int, base: float) -> RotaryScaling | None:
    """How the rotary positions of a file are stretched, if they are.

    As in llama.cpp, a factor without a type is linear, older files call it `rope.scale_linear`, and 0 is none.

    Raises:
        UserError: in a way that malmoi does not have.
    """
    kind = file.metadata.get(f"{architecture}.rope.scaling.type", "linear")
    older = file.metadata.get(f"{architecture}.rope.scale_linear", 0.0)
    factor = file.metadata.get(f"{architecture}.rope.scaling.factor", older)
    stretched = kind == "linear" and factor not in (0, 1)
    if stretched and isinstance(factor, float) and 0 < factor < math.inf and DIVISORS not in file.tensors:
        return RotaryScaling(kind="linear", factor=factor)
    if stretched or kind not in ("none", "linear"):
        raise UserError(f"{file.path} asks for rotary positions scaled by {kind!r}, which malmoi does not have.")
    if DIVISORS not in file.tensors:
        return None
    stored = file.read(DIVISORS)
    scaling = _llama3(float(stored.max())) if stored.isfinite().all() and stored.max() > 0 else None
    if scaling is None or stored.shape != (head_width // 2,) or not _same(stored, divisors(scaling, head_width, base)):
        raise UserError(f"{file.path} scales rotary positions in a way of its own, which malmoi does not have.")
    return scaling


def add_scaling(writer: GGUFWriter, config: GPTConfig) -> None:
    """The header's part; the divisors are a tensor."""
    if config.rotary_scaling is not None and config.rotary_scaling.kind == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rotary_scaling.factor)


def divisors(scaling: RotaryScaling, head_width: int, base: float) -> torch.Tensor:
    """(head_width / 2,) float32, by what each frequency is divided."""
    turns = frequencies(head_width, base)
    return turns / scaling.scale(turns)


def can_be_read_back(config: GPTConfig) -> bool:
    """Whether a file of this model would tell how its positions are stretched."""
    scaling = config.rotary_scaling
    return scaling is None or scaling.kind == "linear" or scaling == _llama3(scaling.factor)


def _llama3(factor: float) -> RotaryScaling:
    return RotaryScaling(
        kind="llama3", factor=factor, low_frequency_factor=_LOW, high_frequency_factor=_HIGH, original_context=_CONTEXT
    )


def _same(stored: torch.Tensor, wanted: torch.Tensor) -> bool:
    return torch.allclose(stored, wanted, rtol=1e-3)
