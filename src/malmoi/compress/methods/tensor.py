"""A train of small tensors for a matrix."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from torch import nn

from malmoi.compress.calibration import Calibration
from malmoi.compress.step import LayerStep, chosen, refuse_pruned
from malmoi.compress.tensor_train import largest_rank, tensor_train
from malmoi.core.errors import UserError
from malmoi.layers.compressed import compressible, replace_weight
from malmoi.layers.matrices.tensor_train import TensorTrainSettings
from malmoi.models.model import Model


class Tensor(LayerStep):
    """A matrix becomes a product of small tensors: far smaller, and far from the same until it has been trained on.

    Where there is text, an embedding keeps most of the tokens that are read most.

    Attributes:
        layers: by default the embedding of tokens, of which a small model mostly consists.
        keep: share of a layer's numbers that is left at most.
        rank: of every joint, instead of what `keep` comes to.
        length: tensors in the train.
    """

    method: Literal["tensor"] = "tensor"
    keep: Annotated[float, Field(gt=0, lt=1)] = 0.1
    rank: PositiveInt | None = None
    length: Annotated[int, Field(ge=2, le=6)] = 3

    def apply(self, model: Model, calibration: Calibration) -> None:
        """See `Step`.

        Raises:
            UserError: also when no train is so small, or a layer has been pruned.
        """
        layers = {name: compressible(model)[name] for name in chosen(model, self.layers, ("embedding",), parts=False)}
        refuse_pruned(model, layers)
        settings = {name: self._settings(name, *layer.weight.shape) for name, layer in layers.items()}
        for name, layer in layers.items():
            read = isinstance(layer, nn.Embedding) and any(calibration.rows)
            worth = calibration.frequencies(layer.weight.shape[0]) if read else None
            replace_weight(model, name, tensor_train(layer.weight.detach(), settings[name], worth))

    def _settings(self, name: str, outputs: int, inputs: int) -> TensorTrainSettings:
        limit = outputs * inputs * (self.keep if self.rank is None else 1)
        largest = largest_rank(outputs, inputs, self.length, limit)
        rank = largest if self.rank is None else self.rank
        if not 0 < rank <= largest:
            raise UserError(
                f"{name} is {outputs:,} x {inputs:,}: a train of {self.length} tensors of rank {rank:,} is no smaller "
                "form of it.",
                f"Take a rank from 1 to {largest:,}, or leave this layer out." if largest else "Raise keep.",
            )
        return TensorTrainSettings(rank=rank, length=self.length)
