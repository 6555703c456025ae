"""Rotary position embedding (Su and others 2021, arXiv:2104.09864), in the half-split layout of Llama and Qwen."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import PositiveFloat, PositiveInt, model_validator

from malmoi.core.config import Settings


class RotaryScaling(Settings):
    """How rotary positions are stretched, so that a context longer than that of the training can be read.

    Attributes:
        kind: "linear" divides every frequency by `factor` (Chen and others 2023, arXiv:2306.15595); "llama3" only those
            that turn less than `low_frequency_factor` times within `original_context`, leaves those alone that turn
            more than `high_frequency_factor` times, and blends between (Llama 3.1's configuration).
        factor: how many times as long the context becomes.
        low_frequency_factor, high_frequency_factor, original_context: of "llama3" alone.
    """

    KINDS: ClassVar = ("linear", "llama3")

    kind: Literal["linear", "llama3"]
    factor: PositiveFloat
    low_frequency_factor: PositiveFloat | None = None
    high_frequency_factor: PositiveFloat | None = None
    original_context: PositiveInt | None = None

    @model_validator(mode="after")
    def _check_numbers(self) -> Self:
        low, high = self.low_frequency_factor, self.high_frequency_factor
        if self.kind == "llama3" and not (low and high and self.original_context and high > low):
            raise ValueError("llama3 needs original_context and high_frequency_factor above low_frequency_factor")
        return self

    def scale(self, turns: torch.Tensor) -> torch.Tensor:
        """(pairs,) `frequencies` to the stretched ones."""
        if self.kind == "linear":
            return turns / self.factor
        low, high, context = self.low_frequency_factor, self.high_frequency_factor, self.original_context
        assert low is not None
        assert high is not None
        assert context is not None
        whole = context * turns / (2 * math.pi)
        kept = ((whole - low) / (high - low)).clamp(0, 1)
        return turns * (kept + (1 - kept) / self.factor)


class RotaryTable(NamedTuple):
    """Rotations of the positions at hand.

    Attributes:
        cosine: (length, 1, head_width), the cosine of dimension i repeated at i + head_width / 2.
        sine: (length, 1, head_width), the first half negated, so that one roll completes the rotation.
    """

    cosine: torch.Tensor
    sine: torch.Tensor


def frequencies(head_width: int, base: float, device: torch.device | None = None) -> torch.Tensor:
    """(head_width / 2,) float32, how far each pair of dimensions turns with a token, in radians."""
    exponents = torch.arange(0, head_width, 2, dtype=torch.float32, device=device) / head_width
    return base**-exponents


def rotary_table(
    start: int,
    length: int,
    head_width: int,
    base: float,
    dtype: torch.dtype,
    device: torch.device,
    scaling: RotaryScaling | None = None,
) -> RotaryTable:
    """The table of positions `start` to `start + length`, cut from a larger one that is kept."""
    if torch.compiler.is_exporting():  # a length that is left open has no bits
        return RotaryTable(*_make_table(start + length, head_width, base, dtype, device, scaling))
    reach = 1 << max(start + length - 1, 63).bit_length()
    cosine, sine = _whole_table(reach, head_width, base, dtype, device, scaling)
    return RotaryTable(cosine[start : start + length], sine[start : start + length])


def rotate(heads: torch.Tensor, table: RotaryTable) -> torch.Tensor:
    """Turn dimension pairs (i, i + head_width / 2) by the angle of their position.

    Args:
        heads: (rows, length, heads, head_width).
    """
    cosine, sine = table
    return torch.addcmul(heads * cosine, heads.roll(heads.shape[-1] // 2, -1), sine)


def _make_table(
    length: int, head_width: int, base: float, dtype: torch.dtype, device: torch.device, scaling: RotaryScaling | None
) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode(False), torch.no_grad():
        turns = frequencies(head_width, base, device)
        turns = turns if scaling is None else scaling.scale(turns)
        angles = torch.outer(torch.arange(length, dtype=torch.float32, device=device), turns)
        cosine, sine = angles.cos(), angles.sin()
        return (
            torch.cat([cosine, cosine], -1).unsqueeze(1).to(dtype),
            torch.cat([-sine, sine], -1).unsqueeze(1).to(dtype),
        )


_whole_table = lru_cache(maxsize=8)(_make_table)
