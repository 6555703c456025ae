"""Matrices of whole numbers from -127 to 127 with one scale a row."""

from __future__ import annotations

import contextlib
import warnings
from functools import cache
from typing import ClassVar

import torch
from torch import nn

from malmoi.core.device import instruction_sets
from malmoi.layers.matrices.matrix import MatrixSettings, QuantizedMatrix

LARGEST = 127
"""Of the codes."""

_FEW = 16
"""Rows up to which the product that reads the codes beats a dense one made for the occasion."""


@cache
def _reduces_range() -> bool:
    """Whether inputs have to be rounded to 7 bits: without VNNI, sums of two products overflow 16 bits."""
    return "avx512_vnni" not in instruction_sets()


class Int8Settings(MatrixSettings):
    """How an int8 matrix multiplies.

    Attributes:
        activations: what it multiplies is rounded to int8 too, row by row, so that the product is one of whole
            numbers (Dettmers and others 2022, arXiv:2208.07339, without the outliers).
    """

    activations: bool = False


class Int8Matrix(QuantizedMatrix):
    """Codes times the scale of their row.

    Attributes:
        codes: (outputs, inputs) int8, from -127 to 127.
        scale: (outputs,) float32.
    """

    first_settings: ClassVar[type[MatrixSettings]] = Int8Settings
    settings: Int8Settings

    def __init__(self, outputs: int, inputs: int, settings: Int8Settings) -> None:
        super().__init__(outputs, inputs, settings)
        self.codes = nn.Parameter(torch.empty((outputs, inputs), dtype=torch.int8), requires_grad=False)
        self.scale = nn.Parameter(torch.empty(outputs, dtype=torch.float32), requires_grad=False)
        self._packed: object = None

    def round(self, numbers: torch.Tensor) -> None:
        """See `QuantizedMatrix`."""
        codes = (numbers.float() / self.scale[:, None]).round().clamp(-LARGEST, LARGEST)
        self.codes.data, self._packed = codes.to(torch.int8), None

    def dense(self) -> torch.Tensor:
        """See `CompressedMatrix`; float32."""
        return self.codes.float() * self.scale[:, None]

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        """See `CompressedMatrix`; no other rows are made."""
        return self.codes[index].float() * self.scale[index][..., None]

    @property
    def product_dtype(self) -> torch.dtype | None:
        """See `QuantizedMatrix`."""
        return None if self.settings.activations or self.codes.device.type != "cpu" else torch.bfloat16

    def product(self, hidden: torch.Tensor) -> torch.Tensor:
        """See `QuantizedMatrix`."""
        flat = hidden.reshape(-1, self.inputs)
        if self.settings.activations and hidden.device.type == "cpu":
            result = self._in_whole_numbers(flat.float())
        elif self.product_dtype is not None and len(flat) <= _FEW:
            result = self.few_rows(flat.bfloat16())
        else:
            return super().product(hidden)
        return result.to(hidden.dtype).view(*hidden.shape[:-1], self.outputs)

    def few_rows(self, hidden: torch.Tensor) -> torch.Tensor:
        """See `QuantizedMatrix`."""
        return torch._weight_int8pack_mm(hidden, self.codes, self.scale.bfloat16())

    def _in_whole_numbers(self, hidden: torch.Tensor) -> torch.Tensor:
        """(rows, inputs) to (rows, outputs), float32; rows are brought to one size, since the kernel has one scale."""
        packed = self._pack()
        if packed is not None and len(hidden) == 1:
            alone: torch.Tensor = torch.ops.quantized.linear_dynamic(hidden, packed, reduce_range=_reduces_range())
            return alone
        size = hidden.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        rows = hidden / size
        if packed is not None:
            product: torch.Tensor = torch.ops.quantized.linear_dynamic(rows, packed, reduce_range=_reduces_range())
            return product * size
        codes = (rows * LARGEST).round().to(torch.int8)
        return torch._int_mm(codes, self.codes.t()).float() * (size / LARGEST) * self.scale

    def _pack(self) -> object | None:
        """The codes in the order in which the processor reads them, made at the first product.

        None where PyTorch was built without such kernels, or does not have them any more
        (https://github.com/pytorch/pytorch/issues/184982).
        """
        if self._packed is None and hasattr(torch, "_make_per_channel_quantized_tensor"):
            zeros = torch.zeros(self.outputs, dtype=torch.int64)
            with warnings.catch_warnings(), contextlib.suppress(RuntimeError):
                warnings.simplefilter("ignore")  # of the issue above
                codes = torch._make_per_channel_quantized_tensor(self.codes, self.scale.double(), zeros, 0)
                self._packed = torch.ops.quantized.linear_prepack(codes, None)
        return self._packed
