"""Four bits a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn

from malmoi.compress.calibration import Calibration
from malmoi.compress.flows import flows
from malmoi.compress.gptq import gptq_matrix, wanted
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
        left = []
        for name, layer in layers.items():
            matrix = int4_matrix(layer.weight.detach(), settings)
            if self.rounding == "nearest" or torch.equal(matrix.dense(), layer.weight):
                replace_weight(model, name, matrix)
            else:
                left.append(name)
        if left:
            self._make_up(model, {name: layers[name] for name in left}, settings, calibration)

    def _make_up(
        self,
        model: Model,
        layers: Mapping[str, nn.Linear | nn.Embedding],
        settings: Int4Settings,
        calibration: Calibration,
    ) -> None:
        """Round layers that do not lie on a grid, one after the other."""
        heads = {name: _head(model, layer) for name, layer in layers.items() if isinstance(layer, nn.Embedding)}
        known = calibration.statistics(model, filter(None, heads.values())) if any(heads.values()) else {}
        unread = dict(layers)
        for names, flow in flows(model, layers, calibration):
            for name in names:
                del unread[name]
                weight = layers[name].weight.detach()
                if flow is not None:
                    matrix = gptq_matrix(wanted(weight, flow), settings, flow.statistic)
                elif heads.get(name) in known:
                    matrix = gptq_matrix(weight, settings, known[heads[name]])
                else:
                    matrix = int4_matrix(weight, settings)
                replace_weight(model, name, matrix)
        for name, layer in unread.items():
            replace_weight(model, name, int4_matrix(layer.weight.detach(), settings))


def _head(model: Model, embedding: nn.Embedding) -> str:
    """The name of the head that shares the matrix of an embedding; nothing where it has none."""
    heads = (name for name, head in model.named_modules() if isinstance(head, TiedHead) and head.embedding is embedding)
    return next(heads, "")
