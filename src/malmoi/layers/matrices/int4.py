"""Matrices of whole numbers from 0 to 15, with a scale and a least number for every few of them."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import nn

from malmoi.core.errors import UserError
from malmoi.layers.matrices.matrix import MatrixSettings, QuantizedMatrix

LARGEST = 15
"""Of the codes."""

_MIDDLE = 8
"""The code whose number the packed product wants to know of each group."""
_FEW = 16
"""Rows up to which the product that reads the codes beats a dense one made for the occasion."""
_OUTPUTS = 16
"""The packed product takes whole blocks of so many outputs."""


class Int4Settings(MatrixSettings):
    """How an int4 matrix is divided.

    Attributes:
        group: numbers of a row that share a scale and a least number.
    """

    group: Literal[32, 64, 128, 256] = 32


class Int4Matrix(QuantizedMatrix):
    """Code times the scale of its group plus the least number of it, as the blocks Q4_1 of GGUF are.

    Attributes:
        codes: (outputs, inputs / 2) uint8, two codes from 0 to 15 a number, the earlier one in the low half.
        scale, least: (outputs, inputs / group) float16.
    """

    first_settings: ClassVar[type[MatrixSettings]] = Int4Settings
    settings: Int4Settings

    def __init__(self, outputs: int, inputs: int, settings: Int4Settings) -> None:
        super().__init__(outputs, inputs, settings)
        if inputs % settings.group:
            raise UserError(
                f"Rows of {inputs:,} numbers are not whole groups of {settings.group}.",
                "Take a smaller group, or leave this layer out.",
            )
        groups = inputs // settings.group
        self.codes = nn.Parameter(torch.empty((outputs, inputs // 2), dtype=torch.uint8), requires_grad=False)
        self.scale = nn.Parameter(torch.empty((outputs, groups), dtype=torch.float16), requires_grad=False)
        self.least = nn.Parameter(torch.empty((outputs, groups), dtype=torch.float16), requires_grad=False)
        self._packed: tuple[torch.Tensor, torch.Tensor] | None = None

    def set_codes(self, codes: torch.Tensor) -> None:
        """Store `codes`, (outputs, inputs) of whole numbers from 0 to 15."""
        pairs = codes.to(torch.uint8).reshape(self.outputs, -1, 2)
        self.codes.data = pairs[..., 0] | (pairs[..., 1] << 4)
        self._packed = None

    def unpacked(self) -> torch.Tensor:
        """(outputs, inputs) uint8, the codes one by one."""
        return _unpacked(self.codes)

    def round(self, numbers: torch.Tensor) -> None:
        """See `QuantizedMatrix`."""
        groups = numbers.float().view(self.outputs, -1, self.settings.group)
        self.set_codes(nearest_codes(groups, self.scale[..., None], self.least[..., None]).view(numbers.shape))

    def dense(self) -> torch.Tensor:
        """See `CompressedMatrix`; float32."""
        return self._numbers(self.codes, self.scale, self.least)

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        """See `CompressedMatrix`; no other rows are made."""
        flat = index.reshape(-1)
        return self._numbers(self.codes[flat], self.scale[flat], self.least[flat]).view(*index.shape, self.inputs)

    @property
    def product_dtype(self) -> torch.dtype | None:
        """See `QuantizedMatrix`."""
        return None if self.outputs % _OUTPUTS or self.codes.device.type != "cpu" else torch.bfloat16

    def product(self, hidden: torch.Tensor) -> torch.Tensor:
        """See `QuantizedMatrix`."""
        flat = hidden.reshape(-1, self.inputs)
        if self.product_dtype is None or len(flat) > _FEW:
            return super().product(hidden)
        return self.few_rows(flat.bfloat16()).to(hidden.dtype).view(*hidden.shape[:-1], self.outputs)

    def few_rows(self, hidden: torch.Tensor) -> torch.Tensor:
        """See `QuantizedMatrix`."""
        packed, scales = self._pack()
        result: torch.Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu.default(
            hidden, packed, self.settings.group, scales
        )
        return result

    def _numbers(self, codes: torch.Tensor, scale: torch.Tensor, least: torch.Tensor) -> torch.Tensor:
        grouped = _unpacked(codes).view(len(codes), -1, self.settings.group)
        numbers = grouped.float() * scale.float()[..., None] + least.float()[..., None]
        return numbers.view(len(codes), self.inputs)

    def _pack(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes and scales in the order in which the processor reads them, made at the first product."""
        if self._packed is None:
            codes = torch.ops.aten._convert_weight_to_int4pack_for_cpu(self.unpacked().int(), 1)
            scale, least = self.scale.data.float().t(), self.least.data.float().t()
            scales = torch.stack([scale, least + _MIDDLE * scale], dim=-1).bfloat16().contiguous()
            self._packed = codes, scales
        return self._packed


def nearest_codes(numbers: torch.Tensor, scale: torch.Tensor, least: torch.Tensor) -> torch.Tensor:
    """The nearest codes, floating, of numbers whose scale and least number are known."""
    return ((numbers - least.float()) / scale.float()).round().clamp(0, LARGEST)


def _unpacked(codes: torch.Tensor) -> torch.Tensor:
    """(rows, inputs / 2) uint8 to (rows, inputs) uint8 codes."""
    return torch.stack([codes & 15, codes >> 4], dim=-1).flatten(1)
