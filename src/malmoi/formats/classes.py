"""What config.json says of a classifier: its classes, and how its texts are put before it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from malmoi.core.errors import UserError
from malmoi.data.batch import Answer
from malmoi.formats.family import Fields
from malmoi.models.classifier import Classifier, TextForm
from malmoi.models.model import BackboneConfig, ModelConfig

CLASSIFIES = "ForSequenceClassification"
"""How the names of their classifiers end."""
_FORM = "text_form"
_PROBLEMS: dict[Answer, str] = {
    "class": "single_label_classification",
    "classes": "multi_label_classification",
    "number": "regression",
}
"""Their word for what is answered."""


def classifier_fields(model: Classifier) -> dict[str, Any]:
    """The fields that say it."""
    return {
        "id2label": {str(index): name for index, name in enumerate(model.classes)},
        "label2id": {name: index for index, name in enumerate(model.classes)},
        **({} if model.answer == "class" else {"problem_type": _PROBLEMS[model.answer]}),
        _FORM: asdict(model.form),
    }


def read_classes(fields: Fields, where: str) -> list[str] | None:
    """The classes of a classifier; None where the model is none.

    Args:
        where: the file, for messages.

    Raises:
        UserError: they are not numbered from 0.
    """
    architectures = fields.get("architectures") or []
    if not any(str(name).endswith(CLASSIFIES) for name in architectures):
        return None
    names = fields.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})  # what transformers takes it for, and leaves out
    if not isinstance(names, dict) or sorted(names) != sorted(map(str, range(len(names)))):
        raise UserError(f"{where} does not number the classes in id2label from 0.", "Get the checkpoint again.")
    return [str(names[str(index)]) for index in range(len(names))]


def read_answer(fields: Fields, classes: list[str]) -> Answer:
    """What a classifier answers: as it says, and without a word a number where it has but one score."""
    said = {problem: answer for answer, problem in _PROBLEMS.items()}.get(fields.get("problem_type") or "")
    return said or ("number" if len(classes) == 1 else "class")


def read_form(fields: Fields, where: str) -> TextForm:
    """How a classifier wants its texts; plain where another program saved it.

    Raises:
        UserError: it is damaged.
    """
    form = fields.get(_FORM) or {}
    longest, suffix, pair = (
        (form.get("longest", 0), form.get("suffix", ""), form.get("pair", False))
        if isinstance(form, dict)
        else [None] * 3
    )
    if not (isinstance(longest, int) and longest >= 0 and isinstance(suffix, str) and isinstance(pair, bool)):
        raise UserError(f"{where} has no {_FORM} that can be read.", "Get the checkpoint again.")
    return TextForm(longest, suffix, pair)


def for_classes(config: ModelConfig, where: str) -> BackboneConfig:
    """The configuration of a classifier's body.

    Raises:
        UserError: classifiers on such a model are not supported.
    """
    if not isinstance(config, BackboneConfig):
        raise UserError(f"{where} is of a classifier on an encoder-decoder.", "Take one on an encoder, such as BERT.")
    return config.for_classes()
