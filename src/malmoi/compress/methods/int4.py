"""Four bits a number."""

from __future__ import annotations

from typing import Literal

from torch import nn

from malmoi.compress.calibration import Calibration, Statistic
from malmoi.compress.gptq import gptq_matrix
from malmoi.compress.methods.int8 import QUANTIZED
from malmoi.compress.rounding import int4_matrix
from malmoi.compress.step import LayerStep, chosen
from malmoi.layers.compressed import compressible, replace_weight
from malmoi.layers.matrices.int4 import Int4Settings
from malmoi.models.model import Model


class Int4(LayerStep):
    """Every number of a matrix becomes one of 16, with a scale and a middle for each group of a row.

    Attributes:
        layers: by default all linear layers of the blocks, and the embedding of tokens.
        group: numbers that share a scale and a middle.
        rounding: "gptq" lets later inputs make up for what earlier ones lose, and reads text for that; "nearest" takes
            the nearest code, as embeddings always do.
    """

    method: Literal["int4"] = "int4"
    group: Literal[32, 64, 128, 256] = 32
    rounding: Literal["gptq", "nearest"] = "gptq"

    def apply(self, model: Model, calibration: Calibration) -> None:
        """See `Step`."""
        settings = Int4Settings(group=self.group)
        layers = {name: compressible(model)[name] for name in chosen(model, self.layers, QUANTIZED)}
        statistics: dict[str, Statistic] = {}
        if self.rounding == "gptq":
            linear = [name for name, layer in layers.items() if isinstance(layer, nn.Linear)]
            statistics = calibration.statistics(model, linear)
        for name, layer in layers.items():
            weight = layer.weight.detach()
            known = statistics.get(name)
            matrix = int4_matrix(weight, settings) if known is None else gptq_matrix(weight, settings, known)
            replace_weight(model, name, matrix)
