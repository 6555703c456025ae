"""Rotary position embedding (Su and others 2021, arXiv:2104.09864), in the half-split layout of Llama and Qwen."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch


class RotaryTable(NamedTuple):
    """Rotations of the positions at hand.

    Attributes:
        cosine: (length, 1, head_width), the cosine of dimension i repeated at i + head_width / 2.
        sine: (length, 1, head_width), the first half negated, so that one roll completes the rotation.
    """

    cosine: torch.Tensor
    sine: torch.Tensor


def rotary_table(
    start: int, length: int, head_width: int, base: float, dtype: torch.dtype, device: torch.device
) -> RotaryTable:
    """The table of positions `start` to `start + length`, cut from a larger one that is kept."""
    reach = 1 << max(start + length - 1, 63).bit_length()
    cosine, sine = _whole_table(reach, head_width, base, dtype, device)
    return RotaryTable(cosine[start : start + length], sine[start : start + length])


def rotate(heads: torch.Tensor, table: RotaryTable) -> torch.Tensor:
    """Turn dimension pairs (i, i + head_width / 2) by the angle of their position.

    Args:
        heads: (rows, length, heads, head_width).
    """
    cosine, sine = table
    return torch.addcmul(heads * cosine, heads.roll(heads.shape[-1] // 2, -1), sine)


@lru_cache(maxsize=8)
def _whole_table(
    length: int, head_width: int, base: float, dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode(False), torch.no_grad():
        exponents = torch.arange(0, head_width, 2, dtype=torch.float32, device=device) / head_width
        angles = torch.outer(torch.arange(length, dtype=torch.float32, device=device), base**-exponents)
        cosine, sine = angles.cos(), angles.sin()
        return (
            torch.cat([cosine, cosine], -1).unsqueeze(1).to(dtype),
            torch.cat([-sine, sine], -1).unsqueeze(1).to(dtype),
        )
