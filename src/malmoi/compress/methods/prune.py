"""Numbers become zero: the least of every row, or two of every four."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from malmoi.compress.calibration import Calibration, Statistic
from malmoi.compress.importance import Importance, of_numbers
from malmoi.compress.methods.lowrank import BLOCKS
from malmoi.compress.step import LayerStep, chosen, refuse_pruned
from malmoi.core.errors import UserError
from malmoi.layers.compressed import compressible
from malmoi.layers.sparse import make_sparse
from malmoi.models.model import Model


class Prune(LayerStep):
    """Set the numbers to zero that matter least; they stay zero when the model is trained on.

    The checkpoint is a plain one, as large as before and as fast: what it is good for is a kernel that knows of zeros,
    and a file that is packed.

    Attributes:
        layers: by default all linear layers of the blocks.
        pattern: "rows" takes the same share of every output's numbers, "2:4" two of every four that lie side by side,
            which is what GPUs are built for.
        share: of the numbers that become zero, where the pattern does not say it.
        importance: "inputs" is Wanda, which reads text; "magnitude" takes the smallest.
    """

    method: Literal["prune"] = "prune"
    pattern: Literal["rows", "2:4"] = "rows"
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    importance: Importance = "inputs"

    def apply(self, model: Model, calibration: Calibration) -> None:
        """See `Step`.

        Raises:
            UserError: also when a layer is no linear one, or its rows are no whole groups of four.
        """
        layers = {name: compressible(model)[name] for name in chosen(model, self.layers, BLOCKS)}
        refuse_pruned(model, layers)
        for name, layer in layers.items():
            self._check(name, layer)
        statistics: dict[str, Statistic] = {}
        if self.importance == "inputs":
            statistics = calibration.statistics(model, layers)
        with torch.no_grad():
            for name, layer in layers.items():
                layer.weight[~self._kept(of_numbers(layer.weight, statistics.get(name)))] = 0
                make_sparse(model, name)

    def _check(self, name: str, layer: nn.Module) -> None:
        if not isinstance(layer, nn.Linear):
            raise UserError(f"{name} is an embedding: a token whose numbers are zero is lost.", "Leave it out.")
        if self.pattern == "2:4" and layer.in_features % 4:
            raise UserError(
                f"The rows of {name} have {layer.in_features:,} numbers, no whole groups of four.",
                "Take pattern=rows, or leave it out.",
            )

    def _kept(self, worth: torch.Tensor) -> torch.Tensor:
        """(outputs, inputs) boolean, of the same number in every group."""
        groups = worth.view(len(worth), -1, 4) if self.pattern == "2:4" else worth[:, None]
        size = groups.shape[-1]
        count = 2 if self.pattern == "2:4" else size - round(self.share * size)
        kept = torch.zeros_like(groups, dtype=torch.bool)
        return kept.scatter_(-1, groups.argsort(dim=-1, descending=True, stable=True)[..., :count], True).view_as(worth)
