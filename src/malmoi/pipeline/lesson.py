"""What a student is taught, and how well it knows it: the words of a corpus, or the classes of labelled texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from malmoi.core.accelerator import device_of
from malmoi.core.console import console
from malmoi.core.errors import UserError
from malmoi.data.batch import BatchSource
from malmoi.data.labelled import EncodedText, collate_labelled
from malmoi.data.mixture import Mixture
from malmoi.data.rows import Rows
from malmoi.evaluate.answers import learned_answering
from malmoi.evaluate.predict import encode_texts, predict
from malmoi.formats.checkpoint import Checkpoint
from malmoi.generate.generator import evaluating
from malmoi.models.classifier import Classifier
from malmoi.models.language_model import LanguageModel
from malmoi.objectives.causal import Causal
from malmoi.objectives.distillation import Taught
from malmoi.pipeline.corpus_tokens import corpus_rows
from malmoi.pipeline.distil_settings import DistilSettings
from malmoi.pipeline.labelled_texts import read_splits

_CONTEXT = 256
"""Most tokens of a row of a corpus."""


@dataclass(frozen=True)
class TextLesson:
    """A corpus to teach a language model with; what is measured is the loss of a held-out token in nats."""

    source: Mixture
    name = "loss"

    def figure(self, model: Taught) -> float:
        """On all held-out text."""
        assert isinstance(model, LanguageModel)
        total, count = 0.0, 0
        with torch.inference_mode(), evaluating(model), console.status("scoring held-out text"):
            for batch in self.source.validation():
                loss = Causal().loss(model, batch.to(device_of(model)))
                total, count = total + float(loss.total), count + int(loss.count)
        return total / count


@dataclass(frozen=True)
class ClassLesson:
    """Labelled texts to teach a classifier with; what is measured is the accuracy on others."""

    source: BatchSource
    texts: Sequence[EncodedText]
    name = "accuracy"

    def figure(self, model: Taught) -> float:
        """On the texts of the test."""
        assert isinstance(model, Classifier)
        answers = predict(model, self.texts).argmax(-1)
        return float((answers == torch.tensor([text.label for text in self.texts])).float().mean())


def make_lesson(settings: DistilSettings, teacher: Checkpoint, directory: Path) -> TextLesson | ClassLesson:
    """What is taught.

    Raises:
        UserError: there is no corpus for a language model, or the classes are others than the teacher's.
    """
    model = teacher.model
    if isinstance(model, LanguageModel):
        if settings.corpus is None:
            raise UserError("A language model is taught with a corpus, and none is named.", "Add corpus=STAGE.")
        context = min(_CONTEXT, model.config.context)
        return TextLesson(
            corpus_rows(settings.corpus, teacher.tokenizer, directory, context, settings.rows, settings.seed)
        )
    if not isinstance(model, Classifier) or model.answer != "class":
        raise UserError(
            f"{settings.teacher} is no language model, and no classifier that names one class.", "Take one of these."
        )
    splits = read_splits(settings)
    classes = learned_answering("class", splits).classes
    if sorted(classes) != sorted(model.classes):
        raise UserError(
            f"The texts have the classes {', '.join(classes)}, and the teacher {', '.join(model.classes)}.",
            "Give the texts that the teacher has learned from, or such as have its classes.",
        )
    train, held_out, test = (
        encode_texts(teacher.tokenizer, part, model) for part in (splits.train, splits.validation, splits.test)
    )
    rows = Rows(train, held_out, _length, collate_labelled, settings.rows, seed=settings.seed)
    return ClassLesson(rows, test)


def _length(text: EncodedText) -> int:
    return len(text.tokens)
