"""Another dropout than a model was built with."""

from __future__ import annotations

from torch import nn

from malmoi.layers.attention import Attention
from malmoi.models.model import Backbone


def set_dropout(body: Backbone, share: float) -> None:
    """Let training leave out this share of the numbers wherever the family has dropout, in the configuration too."""
    for module in body.modules():
        if isinstance(module, nn.Dropout):
            module.p = share
        elif isinstance(module, Attention):
            module.dropout = share
    body.config = body.config.model_copy(update={"dropout": share})
