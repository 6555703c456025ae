"""What config.json says of a model that labels words: its classes, and how its texts are put before it."""

from __future__ import annotations

from dataclasses import asdict
from operator import attrgetter
from typing import Any

import torch

from malmoi.core.errors import UserError
from malmoi.formats.classes import class_fields, read_classes
from malmoi.formats.family import Fields
from malmoi.formats.head import Head
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.model import Backbone, BackboneConfig, ModelConfig
from malmoi.models.token_labeller import TokenLabeller, WordForm

_FORM = "word_form"


def _label_fields(model: TokenLabeller) -> dict[str, Any]:
    """The fields that say it."""
    return {**class_fields(model.classes), _FORM: asdict(model.form)}


def _for_labels(config: ModelConfig, where: str) -> EncoderConfig:
    """The configuration of the body.

    Raises:
        UserError: it is no encoder.
    """
    if not isinstance(config, EncoderConfig):
        raise UserError(f"{where} labels words by a model that is no encoder.", "Take one on an encoder, as BERT.")
    return config.model_copy(update={"masked_head": False, "pooler": "none"})


def _form(fields: Fields, config: BackboneConfig, where: str) -> WordForm:
    """How it wants its texts; plain where another program saved it.

    Raises:
        UserError: it is damaged.
    """
    form = fields.get(_FORM, {})
    longest, joined = (form.get("longest", 0), form.get("joined", False)) if isinstance(form, dict) else (None, None)
    if type(longest) is not int or not 0 <= longest <= config.context or type(joined) is not bool:
        raise UserError(f"{where} has no {_FORM} that can be read.", "Get the checkpoint again.")
    return WordForm(longest, joined)


def _shapes(fields: Fields, body: BackboneConfig, where: str) -> dict[str, torch.Size]:
    return TokenLabeller.label_shapes(body, len(read_classes(fields, where)))


def _put_on(body: Backbone, fields: Fields, where: str) -> TokenLabeller:
    return TokenLabeller(body, read_classes(fields, where), form=_form(fields, body.config, where))


LABELS = Head(
    words="one that labels words",
    ending="ForTokenClassification",
    architecture=attrgetter("labels"),
    left_out=("head.", "pooler."),
    body=_for_labels,
    shapes=_shapes,
    put_on=_put_on,
    fields=_label_fields,
)
