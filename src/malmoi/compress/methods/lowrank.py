"""Two thin matrices for one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from torch import nn

from malmoi.compress.calibration import Calibration, Statistic
from malmoi.compress.low_rank import factors, share_out, strengths
from malmoi.compress.step import LayerStep, chosen, refuse_pruned
from malmoi.core.errors import UserError
from malmoi.layers.compressed import compressed_layers, compressible, replace_weight
from malmoi.layers.matrices.factors import Factors
from malmoi.models.language_model import LanguageModel
from malmoi.models.model import Model


class LowRank(LayerStep):
    """Every matrix becomes the product of two, one narrow and one wide.

    Attributes:
        layers: by default all linear layers of the blocks.
        keep: share of the numbers of these layers that is left.
        rank: of every layer, instead of what `keep` comes to.
        whitened: lose what the text makes least of, and read text for that; else what is least in the numbers, as for
            embeddings always.
        shared: a language model's layers share what is kept, so that those whose errors cost its loss most keep most,
            or are left whole, and text is read for that; else every layer keeps the same share.
    """

    method: Literal["lowrank"] = "lowrank"
    keep: Annotated[float, Field(gt=0, lt=1)] = 0.8
    rank: PositiveInt | None = None
    whitened: bool = True
    shared: bool = True

    def apply(self, model: Model, calibration: Calibration) -> None:
        """See `Step`.

        Raises:
            UserError: also when two matrices of this rank would be larger than the one, or a layer has been pruned.
        """
        names = chosen(model, self.layers, BLOCKS, parts=False)
        refuse_pruned(model, names)
        for name, made in compressed_layers(model).items():
            if isinstance(made.matrix, Factors) and not self.layers:
                raise UserError(f"{name} is held as factors already.", "Start from the checkpoint before.")
        layers = {name: compressible(model)[name] for name in names}
        ranks = {name: self._rank(name, *layer.weight.shape) for name, layer in layers.items()}
        linear = [name for name, layer in layers.items() if isinstance(layer, nn.Linear)]
        statistics: dict[str, Statistic] = {}
        if self.whitened and linear:
            statistics = calibration.statistics(model, linear)
        if self.shared and self.rank is None and linear and isinstance(model, LanguageModel):
            ranks |= self._shared(model, linear, statistics, calibration)
        for name, layer in layers.items():
            if (rank := ranks[name]) is not None:
                replace_weight(model, name, factors(layer.weight.detach(), rank, statistics.get(name)))

    def _shared(
        self, model: LanguageModel, names: list[str], statistics: dict[str, Statistic], calibration: Calibration
    ) -> dict[str, int | None]:
        """The ranks that cost the loss least, by the error of a layer's outputs times the square of their gradient.

        A head is left out: its loss is computed without it, see `linear_cross_entropy`.
        """
        gradients = calibration.gradients(model, names)
        weights = {name: compressible(model)[name].weight.detach() for name in names if name in gradients}
        if not weights:
            return {}
        return share_out(
            {
                name: (strengths(weight, statistics.get(name)) * gradients[name], weight.shape[0], weight.shape[1])
                for name, weight in weights.items()
            },
            self.keep,
        )

    def _rank(self, name: str, outputs: int, inputs: int) -> int | None:
        numbers, each = outputs * inputs, outputs + inputs
        rank = int(self.keep * numbers / each) if self.rank is None else self.rank
        largest = (numbers - 1) // each
        if not 0 < rank <= largest:
            raise UserError(
                f"{name} is {outputs:,} x {inputs:,}: two matrices of rank {rank:,} are no smaller form of it.",
                f"Take a rank from 1 to {largest:,}, or leave this layer out." if largest else "Leave this layer out.",
            )
        return rank


BLOCKS = ("blocks.*", "encoder.*", "decoder.*")
"""The layers that become products by default."""
