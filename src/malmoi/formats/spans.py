"""What config.json says of a model that finds answers: how questions and passages are put before it."""

from __future__ import annotations

import math
from dataclasses import asdict
from operator import attrgetter
from typing import Any

import torch

from malmoi.core.errors import UserError
from malmoi.data.question_windows import QuestionForm
from malmoi.formats.family import Fields
from malmoi.formats.head import Head
from malmoi.models.encoder import Encoder
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.model import Backbone, BackboneConfig, ModelConfig
from malmoi.models.span_finder import SpanFinder, usual_form

_FORM = "question_form"


def _span_fields(model: SpanFinder) -> dict[str, Any]:
    """The fields that say it."""
    return {_FORM: asdict(model.form)}


def _for_spans(config: ModelConfig, where: str) -> EncoderConfig:
    """The configuration of the body.

    Raises:
        UserError: it is no encoder.
    """
    if not isinstance(config, EncoderConfig):
        raise UserError(f"{where} finds answers by a model that is no encoder.", "Take one on an encoder, as BERT.")
    return config.model_copy(update={"masked_head": False, "pooler": "none"})


def _form(values: Fields, config: EncoderConfig, where: str) -> QuestionForm:
    """How it wants questions; that of SQuAD's models, as far as the context goes, where another program saved it.

    Raises:
        UserError: it is damaged.
    """
    usual = asdict(usual_form(config))
    given = values.get(_FORM, {})
    taken = {name: given[name] for name in usual if name in given} if isinstance(given, dict) else {"": given}
    if not all(name in usual and _alike(value, usual[name]) for name, value in taken.items()):
        raise UserError(f"{where} has no {_FORM} that can be read.", "Get the checkpoint again.")
    form = QuestionForm(**usual | taken)
    if not 0 < form.longest <= config.context or form.stride < 1 or form.longest_answer < 1:
        raise UserError(f"{where} has a {_FORM} that cannot be: {given}.", "Get the checkpoint again.")
    return form


def _shapes(fields: Fields, body: BackboneConfig, where: str) -> dict[str, torch.Size]:
    return SpanFinder.span_shapes(body)


def _put_on(body: Backbone, fields: Fields, where: str) -> SpanFinder:
    assert isinstance(body, Encoder)  # _for_spans has seen to it
    return SpanFinder(body, _form(fields, body.config, where))


def _alike(value: Any, usual: Any) -> bool:
    """Whether a value is of the usual one's type; a threshold may be a whole number, and has to be finite."""
    kind = type(usual)
    return (type(value) is kind or (kind is float and type(value) is int)) and math.isfinite(value)


SPANS = Head(
    words="one that finds answers in a passage",
    ending="ForQuestionAnswering",
    architecture=attrgetter("spans"),
    left_out=("head.", "pooler."),
    body=_for_spans,
    shapes=_shapes,
    put_on=_put_on,
    fields=_span_fields,
)
