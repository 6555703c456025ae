"""The kinds of heads that checkpoints hold, one line each."""

from __future__ import annotations

from malmoi.formats.classes import CLASSES
from malmoi.formats.family import Fields
from malmoi.formats.head import Head
from malmoi.formats.labels import LABELS
from malmoi.formats.spans import SPANS
from malmoi.models.headed import Headed
from malmoi.models.model import Model

HEADS = (CLASSES, SPANS, LABELS)


def head_of(model: Model | Headed) -> Head | None:
    """How a model's head is held; None where it has none of its own."""
    return head_for(type(model)) if isinstance(model, Headed) else None


def head_for(kind: type[Headed]) -> Head:
    """How the head of such models is held."""
    return next(head for head in HEADS if head.model is kind)


def find_head(fields: Fields) -> Head | None:
    """The head that a config.json tells of."""
    names = [str(name) for name in fields.get("architectures") or []]
    return next((head for head in HEADS if any(name.endswith(head.ending) for name in names)), None)
