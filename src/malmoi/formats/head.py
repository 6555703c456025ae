"""How checkpoints hold a head of its own: the door between them and the kinds of heads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from malmoi.formats.family import Family, Fields
from malmoi.models.headed import Headed
from malmoi.models.model import Backbone, BackboneConfig, ModelConfig


@dataclass(frozen=True)
class Head:
    """One kind of head. What takes `where`, the file for messages, raises UserError for what is damaged or cannot be.

    Attributes:
        words: what a model with it is.
        ending: of the names of their classes for such models.
        architecture: the name of a family's class.
        left_out: how the names of the body's parts begin that such checkpoints do not have.
        body: (configuration, where) to that of a body beneath this head, as it is published.
        shapes: (fields of config.json, configuration of the body, where) to the shapes of the head's own parameters.
        put_on: (body, fields of config.json, where) to the model.
        fields: what config.json says of a model beside its body.
    """

    words: str
    ending: str
    architecture: Callable[[Family], str]
    left_out: tuple[str, ...]
    body: Callable[[ModelConfig, str], BackboneConfig]
    shapes: Callable[[Fields, BackboneConfig, str], dict[str, torch.Size]]
    put_on: Callable[[Backbone, Fields, str], Headed]
    fields: Callable[[Any], dict[str, Any]]
