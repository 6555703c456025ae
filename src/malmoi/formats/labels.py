"""What config.json says of a model that labels words: its classes, and how its texts are put before it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from malmoi.core.errors import UserError
from malmoi.formats.classes import class_fields, read_classes
from malmoi.formats.family import Fields
from malmoi.formats.head import BESIDE_TOKENS, Head, encoder_beneath, of_tokens, read_form
from malmoi.models.model import Backbone, BackboneConfig
from malmoi.models.token_labeller import TokenLabeller, WordForm

_FORM = "word_form"


def _label_fields(model: TokenLabeller) -> dict[str, Any]:
    """The fields that say it."""
    return {**class_fields(model.classes), _FORM: asdict(model.form)}


def _form(fields: Fields, config: BackboneConfig, where: str) -> WordForm:
    """How it wants its texts; plain where another program saved it.

    Raises:
        UserError: it is damaged.
    """
    form = read_form(WordForm(), _FORM, fields, where)
    if not 0 <= form.longest <= config.context:
        raise UserError(f"{where} has a {_FORM} that cannot be: {form}.", "Get the checkpoint again.")
    return form


def _put_on(body: Backbone, fields: Fields, where: str) -> TokenLabeller:
    return TokenLabeller(body, read_classes(fields, where), form=_form(fields, body.config, where))


LABELS = Head(
    model=TokenLabeller,
    words="one that labels words",
    verb="predict",
    stage="label-words",
    ending="ForTokenClassification",
    table=of_tokens({"classifier.weight": "label.weight", "classifier.bias": "label.bias"}),
    left_out=BESIDE_TOKENS,
    body=encoder_beneath,
    put_on=_put_on,
    fields=_label_fields,
)
