"""Two thin matrices for one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from torch import nn

from malmoi.compress.calibration import Calibration, Statistic
from malmoi.compress.low_rank import factors
from malmoi.compress.methods.int8 import QUANTIZED
from malmoi.compress.step import LayerStep, chosen
from malmoi.core.errors import UserError
from malmoi.layers.compressed import compressible, replace_weight
from malmoi.models.model import Model


class LowRank(LayerStep):
    """Every matrix becomes the product of two, one narrow and one wide.

    Attributes:
        layers: by default all linear layers of the blocks.
        keep: share of a layer's numbers that is left.
        rank: of every layer, instead of what `keep` comes to.
        whitened: lose what the text makes least of, and read text for that; else what is least in the numbers, as for
            embeddings always.
    """

    method: Literal["lowrank"] = "lowrank"
    keep: Annotated[float, Field(gt=0, lt=1)] = 0.8
    rank: PositiveInt | None = None
    whitened: bool = True

    def apply(self, model: Model, calibration: Calibration) -> None:
        """See `Step`.

        Raises:
            UserError: also when two matrices of this rank would be larger than the one.
        """
        names = chosen(model, self.layers, BLOCKS, parts=False)
        layers = {name: compressible(model)[name] for name in names}
        ranks = {name: self._rank(name, *layer.weight.shape) for name, layer in layers.items()}
        statistics: dict[str, Statistic] = {}
        if self.whitened:
            linear = [name for name, layer in layers.items() if isinstance(layer, nn.Linear)]
            statistics = calibration.statistics(model, linear) if linear else {}
        for name, layer in layers.items():
            replace_weight(model, name, factors(layer.weight.detach(), ranks[name], statistics.get(name)))

    def _rank(self, name: str, outputs: int, inputs: int) -> int:
        numbers, each = outputs * inputs, outputs + inputs
        rank = int(self.keep * numbers / each) if self.rank is None else self.rank
        largest = (numbers - 1) // each
        if not 0 < rank <= largest:
            raise UserError(
                f"{name} is {outputs:,} x {inputs:,}: two matrices of rank {rank:,} are no smaller form of it.",
                f"Take a rank from 1 to {largest:,}, or leave this layer out." if largest else "Leave this layer out.",
            )
        return rank


BLOCKS = tuple(pattern for pattern in QUANTIZED if pattern != "embedding")
"""The layers that become products by default."""
