"""A model's body with another head than that of words."""

from __future__ import annotations

from torch import nn

from malmoi.models.model import Backbone


class Headed(nn.Module):
    """A body and a head of its own; the head that guesses words is not used.

    Attributes:
        body: gives the hidden states.
    """

    body: Backbone


def body_of(model: Backbone | Headed) -> Backbone:
    """A headed model's body; another model itself."""
    return model.body if isinstance(model, Headed) else model
