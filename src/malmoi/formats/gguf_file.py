"""The container format of GGUF, read with every size checked against the file before it is believed."""

from __future__ import annotations

import contextlib
import functools
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from malmoi.core.errors import UserError

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Types of metadata values to their struct codes."""
_STRING, _ARRAY = 8, 9
_DEEPEST = 2
_CHUNK = 1 << 22
"""Numbers turned into float32 at once."""


@dataclass(frozen=True)
class TensorPlace:
    """Where a tensor lies: shape (slowest dimension first), type, and bytes from `begin` to `end` of the file."""

    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    begin: int
    end: int


class GGUFFile:
    """An open GGUF file, version 2 or 3, little-endian.

    Attributes:
        metadata: its keys and values, as plain Python values and lists.
        tensors: name to place.

    Raises:
        UserError: it is no GGUF file, is cut short, or states sizes that do not fit into it, or holds tensors of a
            type that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with open(path, "rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise UserError(f"There is no file {path}.", "Check the path.") from None
        except (ValueError, OSError) as error:
            raise UserError(f"{path} cannot be read: {error}.") from None
        self._at = 0
        self._read_header()

    def close(self) -> None:
        """Let go of the file; where an error still holds a part of it, the file goes with that error."""
        with contextlib.suppress(BufferError):
            self._bytes.close()

    def read(self, name: str) -> torch.Tensor:
        """The tensor `name` as float32, dequantised a few rows at a time."""
        place = self.tensors[name]
        rows = place.shape[0] if len(place.shape) > 1 else 1
        raw = numpy.frombuffer(self._bytes, numpy.uint8, place.end - place.begin, place.begin).reshape(rows, -1)
        result = numpy.empty((rows, _product(place.shape) // rows), dtype=numpy.float32)
        step = max(1, _CHUNK // result.shape[1])
        with numpy.errstate(all="ignore"):
            for start in range(0, rows, step):
                result[start : start + step] = dequantize(raw[start : start + step], place.kind)
        return torch.from_numpy(result).view(place.shape)

    def _read_header(self) -> None:
        if self._bytes[:4] != b"GGUF":
            raise UserError(f"{self.path} is not a GGUF file: it does not start with 'GGUF'.", "Check the path.")
        self._at = 4
        version = self._number("I")
        if version not in (2, 3):
            raise UserError(f"{self.path} is GGUF version {version}; malmoi reads 2 and 3.", "Convert it again.")
        tensors, values = self._number("Q"), self._number("Q")
        self._expect(tensors * 24 + values * 13, "its counts of tensors and values")
        self.metadata: dict[str, Any] = {}
        for _ in range(values):
            key = self._string()
            self.metadata[key] = self._value(self._number("I"))
        places = [self._tensor() for _ in range(tensors)]
        alignment = self.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 16:
            raise self._damaged(f"an alignment of {alignment!r}")
        base = -(-self._at // alignment) * alignment
        self.tensors = {name: self._place(name, base, shape, kind, at) for name, shape, kind, at in places}
        if len(self.tensors) != tensors:
            raise self._damaged("two tensors of one name")

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name, dimensions = self._string(), self._number("I")
        if not 0 < dimensions <= 4:
            raise self._damaged(f"a tensor of {dimensions} dimensions")
        shape = tuple(self._number("Q") for _ in range(dimensions))[::-1]
        return name, shape, self._number("I"), self._number("Q")

    def _place(self, name: str, base: int, shape: tuple[int, ...], kind: int, offset: int) -> TensorPlace:
        if kind not in set(GGMLQuantizationType):
            raise self._damaged(f"an unknown type {kind} of tensor {name!r}")
        if not _can_be_read(GGMLQuantizationType(kind)):
            what = f"{self.path}: malmoi does not read the type {GGMLQuantizationType(kind).name} of the tensor {name}."
            raise UserError(what, "Get the model in another type.")
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        if 0 in shape or shape[-1] % block:
            raise self._damaged(f"the shape {shape} of tensor {name!r}")
        begin = base + offset
        end = begin + _product(shape) // block * size
        if end > len(self._bytes):
            raise self._damaged(f"tensor {name!r} ending at byte {end:,}")
        return TensorPlace(shape, GGMLQuantizationType(kind), begin, end)

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY or depth == _DEEPEST:
            raise self._damaged(f"a value of unknown type {kind}")
        inner, count = self._number("I"), self._number("Q")
        if inner not in _NUMBERS:
            self._expect(count * 8, f"an array of {count:,} values")
            return [self._value(inner, depth + 1) for _ in range(count)]
        code = _NUMBERS[inner]
        size = struct.calcsize(code) * count
        self._expect(size, f"an array of {count:,} numbers")
        begin, self._at = self._at, self._at + size
        return list(struct.unpack(f"<{count}{code}", self._bytes[begin : self._at]))

    def _number(self, code: str) -> int:
        size = struct.calcsize(f"<{code}")
        self._expect(size, "a number")
        (value,) = struct.unpack_from(f"<{code}", self._bytes, self._at)
        self._at += size
        return value  # type: ignore[no-any-return]

    def _string(self) -> str:
        size = self._number("Q")
        self._expect(size, f"a text of {size:,} bytes")
        begin, self._at = self._at, self._at + size
        return self._bytes[begin : self._at].decode("utf-8", errors="replace")

    def _expect(self, size: int, what: str) -> None:
        if self._at + size > len(self._bytes):
            raise self._damaged(what)

    def _damaged(self, what: str) -> UserError:
        return UserError(
            f"{self.path} is cut short or damaged: at byte {self._at:,} of {len(self._bytes):,} it states {what}.",
            "Get it again and compare its sha256.",
        )


@functools.cache
def _can_be_read(kind: GGMLQuantizationType) -> bool:
    """Whether the library turns a block of this type into numbers."""
    try:
        dequantize(numpy.zeros((1, GGML_QUANT_SIZES[kind][1]), numpy.uint8), kind)
    except NotImplementedError:
        return False
    return True


def _product(shape: tuple[int, ...]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result
