"""What config.json says of a model that finds answers: how questions and passages are put before it."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from malmoi.core.errors import UserError
from malmoi.data.question_windows import QuestionForm
from malmoi.formats.family import Fields
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.model import ModelConfig
from malmoi.models.span_finder import SpanFinder, usual_form

FINDS_SPANS = "ForQuestionAnswering"
"""How the names of their classes end."""

_FORM = "question_form"


def span_fields(model: SpanFinder) -> dict[str, Any]:
    """The fields that say it."""
    return {_FORM: asdict(model.form)}


def finds_spans(fields: Fields) -> bool:
    """Whether a config.json is that of a model that finds answers."""
    return any(str(name).endswith(FINDS_SPANS) for name in fields.get("architectures") or [])


def for_spans(config: ModelConfig, where: str) -> EncoderConfig:
    """The configuration of the body.

    Raises:
        UserError: it is no encoder.
    """
    if not isinstance(config, EncoderConfig):
        raise UserError(f"{where} finds answers by a model that is no encoder.", "Take one on an encoder, as BERT.")
    return config.model_copy(update={"masked_head": False, "pooler": "none"})


def read_question_form(values: Fields, config: EncoderConfig, where: str) -> QuestionForm:
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


def _alike(value: Any, usual: Any) -> bool:
    """Whether a value is of the usual one's type; a threshold may be a whole number, and has to be finite."""
    kind = type(usual)
    return (type(value) is kind or (kind is float and type(value) is int)) and math.isfinite(value)
