"""What config.json says of a model that finds answers: how questions and passages are put before it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from malmoi.core.errors import UserError
from malmoi.data.question_windows import QuestionForm
from malmoi.formats.family import Fields
from malmoi.formats.head import BESIDE_TOKENS, Head, encoder_beneath, of_tokens, read_form
from malmoi.models.encoder import Encoder
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.model import Backbone
from malmoi.models.span_finder import SpanFinder, usual_form

_FORM = "question_form"


def _span_fields(model: SpanFinder) -> dict[str, Any]:
    """The fields that say it."""
    return {_FORM: asdict(model.form)}


def _form(fields: Fields, config: EncoderConfig, where: str) -> QuestionForm:
    """How it wants questions; that of SQuAD's models, as far as the context goes, where another program saved it.

    Raises:
        UserError: it is damaged.
    """
    form = read_form(usual_form(config), _FORM, fields, where)
    if not 0 < form.longest <= config.context or form.stride < 1 or form.longest_answer < 1:
        raise UserError(f"{where} has a {_FORM} that cannot be: {form}.", "Get the checkpoint again.")
    return form


def _put_on(body: Backbone, fields: Fields, where: str) -> SpanFinder:
    assert isinstance(body, Encoder)  # encoder_beneath has seen to it
    return SpanFinder(body, _form(fields, body.config, where))


SPANS = Head(
    model=SpanFinder,
    words="one that finds answers in a passage",
    verb="answer",
    stage="questions",
    ending="ForQuestionAnswering",
    table=of_tokens({"qa_outputs.weight": "span.weight", "qa_outputs.bias": "span.bias"}),
    left_out=BESIDE_TOKENS,
    body=encoder_beneath,
    put_on=_put_on,
    fields=_span_fields,
)
