"""Another dropout than a model was built with."""

from __future__ import annotations

from torch import nn

from malmoi.core.config import parse_settings
from malmoi.layers.attention import Attention
from malmoi.models.model import Backbone


def set_dropout(body: Backbone, share: float) -> None:
    """Let training leave out this share of the numbers wherever the family has dropout, in the configuration too.

    Raises:
        UserError: a layer's way to compute attention has no dropout.
    """
    fields = body.config.model_dump() | {"dropout": share}
    body.config = parse_settings(type(body.config), fields, f"a model with dropout={share:g}")
    for module in body.modules():
        if isinstance(module, nn.Dropout):
            module.p = share
        elif isinstance(module, Attention):
            module.dropout = share
