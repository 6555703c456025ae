"""Eight bits a number."""

from __future__ import annotations

from typing import Literal

from malmoi.compress.calibration import Calibration
from malmoi.compress.rounding import int8_matrix
from malmoi.compress.smoothing import smooth
from malmoi.compress.step import LayerStep, chosen
from malmoi.layers.compressed import compressible, replace_weight
from malmoi.layers.matrices.int8 import Int8Settings
from malmoi.models.model import Model


class Int8(LayerStep):
    """Every number of a matrix becomes one of 255, with a scale a row.

    Attributes:
        layers: by default all linear layers of the blocks, and the embedding of tokens.
        activations: what flows into a layer is rounded too, token by token, and multiplied as whole numbers.
        smoothed: then what is large in such inputs is moved into the weights before, by text that is read for that.
    """

    method: Literal["int8"] = "int8"
    activations: bool = False
    smoothed: bool = True

    def apply(self, model: Model, calibration: Calibration) -> None:
        """See `Step`."""
        settings = Int8Settings(activations=self.activations)
        names = chosen(model, self.layers, QUANTIZED)
        if self.activations and self.smoothed:
            smooth(model, names, calibration)
        for name in names:
            replace_weight(model, name, int8_matrix(compressible(model)[name].weight.detach(), settings))


QUANTIZED = ("embedding", "head", "blocks.*", "encoder.*", "decoder.*")
"""The layers that become whole numbers by default: all but heads of classes, learned positions and the like."""
