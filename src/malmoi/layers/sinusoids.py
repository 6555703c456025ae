"""Sinusoidal positions (Vaswani and others 2017, arXiv:1706.03762, section 3.5)."""

from __future__ import annotations

from functools import lru_cache

import torch


def sinusoids(start: int, length: int, width: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """(length, width), what is added to the embeddings at the positions `start` to `start + length`.

    Pair i turns by 10000 ** (-2 i / width) radians a token. All sines stand before all cosines, the order of Marian and
    tensor2tensor; the paper's, which alternates, is the same but for the numbering of the dimensions.
    """
    reach = 1 << max(start + length - 1, 63).bit_length()
    return _whole_table(reach, width, dtype, device)[start : start + length]


@lru_cache(maxsize=8)
def _whole_table(length: int, width: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    with torch.inference_mode(False), torch.no_grad():
        exponents = torch.arange(0, width, 2, dtype=torch.float64) / width
        angles = torch.outer(torch.arange(length, dtype=torch.float64), 10_000.0**-exponents)
        return torch.cat([angles.sin(), angles.cos()], -1).to(device, dtype)
