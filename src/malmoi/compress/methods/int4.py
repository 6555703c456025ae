"""Four bits a number."""

from __future__ import annotations

from typing import Literal

from torch import nn

from malmoi.compress.calibration import Calibration
from malmoi.compress.gptq import gptq_matrix
from malmoi.compress.methods.int8 import QUANTIZED
from malmoi.compress.rounding import int4_matrix
from malmoi.compress.step import LayerStep, chosen, refuse_pruned
from malmoi.layers.compressed import compressible, replace_weight
from malmoi.layers.matrices.int4 import Int4Settings
from malmoi.layers.tied_head import TiedHead
from malmoi.models.model import Model


class Int4(LayerStep):
    """Every number of a matrix becomes one of 16, with a scale and a least number for each group of a row.

    Attributes:
        layers: by default all linear layers of the blocks, and the embedding of tokens.
        group: numbers that share a scale and a least number.
        rounding: "gptq" lets later inputs make up for what earlier ones lose, and reads text for that; "nearest" takes
            the nearest code, as an embedding does whose head has weights of its own.
    """

    method: Literal["int4"] = "int4"
    group: Literal[32, 64, 128, 256] = 32
    rounding: Literal["gptq", "nearest"] = "gptq"

    def apply(self, model: Model, calibration: Calibration) -> None:
        """See `Step`.

        Raises:
            UserError: also when a layer has been pruned: a group's 16 numbers need not hold zero.
        """
        settings = Int4Settings(group=self.group)
        layers = {name: compressible(model)[name] for name in chosen(model, self.layers, QUANTIZED)}
        refuse_pruned(model, layers)
        read = {name: _reader(model, name, layer) for name, layer in layers.items()} if self.rounding == "gptq" else {}
        known = calibration.statistics(model, {reader for reader in read.values() if reader}) if read else {}
        for name, layer in layers.items():
            weight, statistic = layer.weight.detach(), known.get(read.get(name, ""))
            matrix = int4_matrix(weight, settings) if statistic is None else gptq_matrix(weight, settings, statistic)
            replace_weight(model, name, matrix)


def _reader(model: Model, name: str, layer: nn.Linear | nn.Embedding) -> str:
    """The name of what multiplies with a layer's matrix, a head that shares it where it is an embedding, or nothing."""
    if isinstance(layer, nn.Linear):
        return name
    heads = (name for name, head in model.named_modules() if isinstance(head, TiedHead) and head.embedding is layer)
    return next(heads, "")
