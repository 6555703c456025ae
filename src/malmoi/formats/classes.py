"""What config.json says of a classifier: its classes, and how its texts are put before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from operator import attrgetter
from typing import Any

from malmoi.core.errors import UserError
from malmoi.data.batch import Answer
from malmoi.formats.family import Fields
from malmoi.formats.head import Head, read_form
from malmoi.models.classifier import Classifier, TextForm
from malmoi.models.model import Backbone, BackboneConfig, ModelConfig

_FORM = "text_form"
_PROBLEMS: dict[Answer, str] = {
    "class": "single_label_classification",
    "classes": "multi_label_classification",
    "number": "regression",
}
"""Their word for what is answered."""


def _classifier_fields(model: Classifier) -> dict[str, Any]:
    """The fields that say it."""
    return {
        **class_fields(model.classes),
        **({} if model.answer == "class" else {"problem_type": _PROBLEMS[model.answer]}),
        _FORM: asdict(model.form),
    }


def class_fields(classes: Sequence[str]) -> dict[str, Any]:
    """Their fields for the names of classes."""
    return {
        "id2label": {str(index): name for index, name in enumerate(classes)},
        "label2id": {name: index for index, name in enumerate(classes)},
    }


def read_classes(fields: Fields, where: str) -> list[str]:
    """The names of the classes.

    Raises:
        UserError: they are not numbered from 0.
    """
    names = fields.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})  # what transformers takes it for, and leaves out
    if not isinstance(names, dict) or sorted(names) != sorted(map(str, range(len(names)))):
        raise UserError(f"{where} does not number the classes in id2label from 0.", "Get the checkpoint again.")
    return [str(names[str(index)]) for index in range(len(names))]


def _answer(fields: Fields, classes: list[str]) -> Answer:
    """What a classifier answers: as it says, and without a word a number where it has but one score."""
    said = {problem: answer for answer, problem in _PROBLEMS.items()}.get(fields.get("problem_type") or "")
    return said or ("number" if len(classes) == 1 else "class")


def _form(fields: Fields, where: str) -> TextForm:
    """How a classifier wants its texts; plain where another program saved it.

    Raises:
        UserError: it is damaged.
    """
    form = read_form(TextForm(), _FORM, fields, where)
    if form.longest < 0:
        raise UserError(f"{where} has a {_FORM} that cannot be: {form}.", "Get the checkpoint again.")
    return form


def _for_classes(config: ModelConfig, where: str) -> BackboneConfig:
    """The configuration of a classifier's body.

    Raises:
        UserError: classifiers on such a model are not supported.
    """
    if not isinstance(config, BackboneConfig):
        raise UserError(f"{where} is of a classifier on an encoder-decoder.", "Take one on an encoder, such as BERT.")
    return config.for_classes()


def _put_on(body: Backbone, fields: Fields, where: str) -> Classifier:
    classes = read_classes(fields, where)
    return Classifier(body, classes, form=_form(fields, where), answer=_answer(fields, classes))


CLASSES = Head(
    model=Classifier,
    words="a classifier",
    verb="predict",
    stage="classify",
    ending="ForSequenceClassification",
    table=attrgetter("classes_table"),
    left_out=("head.",),
    body=_for_classes,
    put_on=_put_on,
    fields=_classifier_fields,
)
