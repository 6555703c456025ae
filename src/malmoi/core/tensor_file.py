"""Tensors to a safetensors file, one at a time (https://github.com/huggingface/safetensors#format)."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch

TYPES = {
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""Their names in the header, in the order in which the library writes them: no tensor begins at an odd place."""
_ALIGNMENT = 8


class MadeOnDemand(Mapping[str, torch.Tensor]):
    """Named tensors that are made whenever they are asked for, so that only one of them need be in memory.

    Args:
        makers: name to what makes the tensor; the same one every time.
    """

    def __init__(self, makers: Mapping[str, Callable[[], torch.Tensor]]) -> None:
        self._makers = makers

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def write_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write named tensors, byte for byte as `safetensors.torch.save_file` does.

    Every tensor is asked for twice, for the header and for its bytes, and is let go of at once: beside what
    `tensors` holds anyway, one tensor is in memory.

    Raises:
        OSError: as the system gives it; a full disk with ENOSPC.
    """
    order = list(TYPES)
    facts = {name: _facts(tensors[name]) for name in tensors}
    names = sorted(facts, key=lambda name: (order.index(facts[name][0]), name))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        dtype, shape, size = facts[name]
        header[name] = {"dtype": TYPES[dtype], "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            file.write(_bytes(tensors[name]))


def _facts(value: torch.Tensor) -> tuple[torch.dtype, list[int], int]:
    return value.dtype, list(value.shape), value.nbytes


def _bytes(value: torch.Tensor) -> memoryview:
    """The content of a tensor, without a copy where it lies in one piece on the CPU."""
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
